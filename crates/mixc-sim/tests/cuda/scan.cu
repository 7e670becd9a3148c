// Inclusive prefix sum of each block's 256 integers (Hillis and Steele).
#include "device.h"
KERNEL scan(const int *x, int *y, int n) {
  __shared__ int v[2][256];
  int i = block() * 256 + tid(), from = 0;
  v[0][tid()] = i < n ? x[i] : 0;
  sync();
  for (unsigned by = 1; by < 256; by *= 2) {
    int s = v[from][tid()];
    if (tid() >= by) s += v[from][tid() - by];
    v[1 - from][tid()] = s;
    from = 1 - from;
    sync();
  }
  if (i < n) y[i] = v[from][tid()];
}
