// Lanes take different numbers of steps and different ways through each step.
#include "device.h"
KERNEL branchy(const unsigned *x, unsigned *steps, float *f, int n) {
  int i = block() * threads() + tid();
  if (i >= n) return;
  unsigned v = x[i], count = 0;
  while (v != 1) {
    if (v % 2 == 0) v /= 2;
    else v = 3 * v + 1;
    count++;
    if (count > 200) break;
  }
  steps[i] = count;
  float r;
  switch (i % 5) {
    case 0: r = (float)count * 0.5f; break;
    case 1: r = 1.0f / (float)(count + 1); break;
    case 2: r = count > 10 ? -1.0f : 3.0f; break;
    case 3: r = __builtin_fabsf(5.0f - (float)count); break;
    default: r = (float)(count * count); break;
  }
  f[i] = r;
}
