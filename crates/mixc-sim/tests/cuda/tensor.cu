// C[16, 8] = A[16, 16] * B[16, 8] in bf16 with one warp: cp.async, ldmatrix, mma.
#include "device.h"
#define SHARED __attribute__((address_space(3)))
#define GLOBAL __attribute__((address_space(1)))
KERNEL tensor(const unsigned short *a, const unsigned short *b, float *c) {
  __shared__ __attribute__((aligned(16))) unsigned short ta[16 * 16], tb[16 * 8];
  unsigned lane = tid();
  __nvvm_cp_async_cg_shared_global_16((SHARED void *)(ta + lane * 8), (GLOBAL const void *)(a + lane * 8));
  if (lane < 16) __nvvm_cp_async_cg_shared_global_16((SHARED void *)(tb + lane * 8), (GLOBAL const void *)(b + lane * 8));
  __nvvm_cp_async_commit_group();
  __nvvm_cp_async_wait_group(0);
  sync();
  unsigned fa[4], fb[2];
  unsigned pa = (unsigned)(unsigned long long)(SHARED void *)(ta + lane % 16 * 16 + lane / 16 * 8);
  SHARED void *pb = (SHARED void *)(tb + lane % 16 * 8);
  asm volatile("{ .reg .u64 g; cvt.u64.u32 g, %4; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [g]; }"
               : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3]) : "r"(pa) : "memory");
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(fb[0]), "=r"(fb[1]) : "l"(pb) : "memory");
  float d[4];
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]), "f"(0.5f));
  for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}
