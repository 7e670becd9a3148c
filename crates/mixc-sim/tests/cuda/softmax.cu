// Softmax of each row, one warp for each row.
#include "device.h"
KERNEL softmax(const float *x, float *y, int rows, int cols) {
  int row = block() * (threads() / 32) + tid() / 32, lane = tid() % 32;
  if (row >= rows) return;
  x += row * cols;
  y += row * cols;
  float top = -__builtin_inff();
  for (int i = lane; i < cols; i += 32) top = __builtin_fmaxf(top, x[i]);
  for (int by = 16; by > 0; by /= 2) top = __builtin_fmaxf(top, shfl_xor(top, by));
  float sum = 0;
  for (int i = lane; i < cols; i += 32) sum += exp2_approx((x[i] - top) * 1.44269504f);
  for (int by = 16; by > 0; by /= 2) sum += shfl_xor(sum, by);
  for (int i = lane; i < cols; i += 32) y[i] = exp2_approx((x[i] - top) * 1.44269504f) / sum;
}
