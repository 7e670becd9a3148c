// Causal attention over bf16 with one online softmax: 128 threads, 64 queries, blocks of 64 keys, D = 64.
// q, k, v, o: [T, 64] bf16, o f32; T is a multiple of 64. Grid: T / 64 blocks.
#include "device.h"

typedef unsigned u32;
typedef unsigned long long u64;
#define UNROLL _Pragma("unroll")

DEVICE u32 pack(float lo, float hi) {
  u32 d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(hi), "f"(lo));
  return d;
}
DEVICE void copy16(u32 to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
DEVICE void load4(u32 (&d)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(at) : "memory");
}
DEVICE void load4t(u32 (&d)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(at) : "memory");
}
DEVICE void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE float larger(float a, float b) { return a > b ? a : b; }

// Two stages of a K tile and a V tile, rows of 128 bytes with their pieces exchanged by row % 8.
__shared__ __attribute__((aligned(128))) unsigned char tiles[2][2][8192];

DEVICE void fetch(u32 base, const unsigned short *k, const unsigned short *v, u32 block, u32 t) {
  UNROLL for (u32 n = 0; n < 4; n++) {
    u32 piece = t + 128 * n, row = piece >> 3, col = piece & 7;
    u32 to = base + row * 128 + ((col ^ (row & 7)) << 4);
    u64 from = (u64)(block * 64 + row) * 64 + col * 8;
    copy16(to, k + from);
    copy16(to + 8192, v + from);
  }
  asm volatile("cp.async.commit_group;" ::: "memory");
}

KERNEL attention(const unsigned short *q, const unsigned short *k, const unsigned short *v, float *o, float scale) {
  u32 t = tid(), lane = t & 31, row0 = block() * 64 + (t >> 5) * 16 + (lane >> 2);
  u32 base = (u32)(u64)(__attribute__((address_space(3))) void *)tiles;
  u32 qf[4][4];
  UNROLL for (u32 d = 0; d < 4; d++) UNROLL for (u32 r = 0; r < 4; r++) {
    qf[d][r] = *(const u32 *)(q + (u64)(row0 + 8 * (r & 1)) * 64 + d * 16 + (r >> 1) * 8 + 2 * (lane & 3));
  }
  float acc[8][4] = {}, top[2] = {-1e30f, -1e30f}, sum[2] = {};
  u32 last = block();
  fetch(base, k, v, 0, t);
  for (u32 b = 0; b <= last; b++) {
    if (b < last) {
      fetch(base + ((b + 1) & 1) * 16384, k, v, b + 1, t);
      asm volatile("cp.async.wait_group 1;" ::: "memory");
    } else {
      asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
    sync();
    u32 kt = base + (b & 1) * 16384, vt = kt + 8192;
    float s[8][4] = {};
    UNROLL for (u32 d = 0; d < 4; d++) UNROLL for (u32 n = 0; n < 4; n++) {
      u32 row = n * 16 + ((lane >> 4) << 3) + (lane & 7), col = 2 * d + ((lane >> 3) & 1), f[4];
      load4(f, kt + row * 128 + ((col ^ (row & 7)) << 4));
      mma(s[2 * n], qf[d], f[0], f[1]);
      mma(s[2 * n + 1], qf[d], f[2], f[3]);
    }
    float m[2] = {top[0], top[1]};
    UNROLL for (u32 n = 0; n < 8; n++) UNROLL for (u32 i = 0; i < 4; i++) {
      u32 key = b * 64 + n * 8 + 2 * (lane & 3) + (i & 1), query = row0 + 8 * (i >> 1);
      s[n][i] = key > query ? -1e30f : s[n][i] * scale;
      m[i >> 1] = larger(m[i >> 1], s[n][i]);
    }
    UNROLL for (u32 h = 0; h < 2; h++) {
      m[h] = larger(m[h], shfl_xor(m[h], 1));
      m[h] = larger(m[h], shfl_xor(m[h], 2));
      float shrink = exp2_approx(top[h] - m[h]);
      top[h] = m[h];
      sum[h] *= shrink;
      UNROLL for (u32 n = 0; n < 8; n++) { acc[n][2 * h] *= shrink; acc[n][2 * h + 1] *= shrink; }
    }
    UNROLL for (u32 n = 0; n < 8; n++) UNROLL for (u32 i = 0; i < 4; i++) {
      s[n][i] = exp2_approx(s[n][i] - m[i >> 1]);
      sum[i >> 1] += s[n][i];
    }
    UNROLL for (u32 c = 0; c < 4; c++) {
      u32 p[4] = {pack(s[2 * c][0], s[2 * c][1]), pack(s[2 * c][2], s[2 * c][3]),
                  pack(s[2 * c + 1][0], s[2 * c + 1][1]), pack(s[2 * c + 1][2], s[2 * c + 1][3])};
      UNROLL for (u32 n = 0; n < 4; n++) {
        u32 row = c * 16 + (lane & 15), col = 2 * n + (lane >> 4), f[4];
        load4t(f, vt + row * 128 + ((col ^ (row & 7)) << 4));
        mma(acc[2 * n], p, f[0], f[1]);
        mma(acc[2 * n + 1], p, f[2], f[3]);
      }
    }
    sync();
  }
  UNROLL for (u32 h = 0; h < 2; h++) {
    sum[h] += shfl_xor(sum[h], 1);
    sum[h] += shfl_xor(sum[h], 2);
    float inverse = 1.0f / sum[h];
    UNROLL for (u32 n = 0; n < 8; n++) {
      float2_store(o + (u64)(row0 + 8 * h) * 64 + n * 8 + 2 * (lane & 3), acc[n][2 * h] * inverse, acc[n][2 * h + 1] * inverse);
    }
  }
}
