// C[M, N] = A[M, K] * B[K, N] with 16 x 16 tiles; any sizes.
#include "device.h"
KERNEL matmul(const float *a, const float *b, float *c, int m, int n, int k) {
  __shared__ float ta[16][16], tb[16][16];
  int row = block_y() * 16 + tid_y(), col = block() * 16 + tid();
  float sum = 0;
  for (int k0 = 0; k0 < k; k0 += 16) {
    int ka = k0 + tid(), kb = k0 + tid_y();
    ta[tid_y()][tid()] = row < m && ka < k ? a[row * k + ka] : 0.0f;
    tb[tid_y()][tid()] = kb < k && col < n ? b[kb * n + col] : 0.0f;
    sync();
    for (int i = 0; i < 16; i++) sum += ta[tid_y()][i] * tb[i][tid()];
    sync();
  }
  if (row < m && col < n) c[row * n + col] = sum;
}
