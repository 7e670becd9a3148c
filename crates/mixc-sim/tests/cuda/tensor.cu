// C[16, 8] = A[16, 16] * B[16, 8] in bf16 with one warp: cp.async, ldmatrix, mma.
#include "device.h"
KERNEL tensor(const unsigned short *a, const unsigned short *b, float *c) {
  __shared__ __attribute__((aligned(16))) unsigned short ta[16 * 16], tb[16 * 8];
  unsigned lane = tid();
  __nvvm_cp_async_cg_shared_global_16((__shared__ void *)(ta + lane * 8), (const void *)(a + lane * 8));
  if (lane < 16) __nvvm_cp_async_cg_shared_global_16((__shared__ void *)(tb + lane * 8), (const void *)(b + lane * 8));
  __nvvm_cp_async_commit_group();
  __nvvm_cp_async_wait_group(0);
  sync();
  unsigned fa[4], fb[2];
  unsigned pa = (unsigned)(unsigned long long)(__shared__ void *)(ta + lane % 16 * 16 + lane / 16 * 8);
  unsigned pb = (unsigned)(unsigned long long)(__shared__ void *)(tb + lane % 16 * 8);
  asm volatile("{ .reg .u64 g; cvt.u64.u32 g, %4; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [g]; }"
               : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3]) : "r"(pa) : "memory");
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(fb[0]), "=r"(fb[1]) : "r"(pb) : "memory");
  float zero[4] = {0, 0, 0, 0}, d[4];
  __mma_bf16_m16n8k16_mma_f32(d, (const int *)fa, (const int *)fb, zero, 1);
  for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}
