// Packed 16-bit arithmetic: z = max(a * x + y, 0) in f16, and a bf16 dot product in float.
#include "device.h"
KERNEL halves(const unsigned *a, const unsigned *x, const unsigned *y, unsigned *z, int n) {
  int i = block() * threads() + tid();
  if (i >= n) return;
  unsigned r;
  asm("{\n\t.reg .b32 t, zero;\n\tfma.rn.f16x2 t, %1, %2, %3;\n\tmov.b32 zero, 0;\n\tmax.f16x2 %0, t, zero;\n\t}" : "=r"(r) : "r"(a[i]), "r"(x[i]), "r"(y[i]));
  z[i] = r;
}
KERNEL bf16_dot(const unsigned short *x, const unsigned short *y, float *sums, unsigned short *low, int n) {
  float s = 0;
  for (int i = tid(); i < n; i += threads()) {
    float a, b;
    unsigned xb = (unsigned)x[i] << 16, yb = (unsigned)y[i] << 16;
    a = *(float *)&xb;
    b = *(float *)&yb;
    s = __builtin_fmaf(a, b, s);
  }
  sums[tid()] = s;
  unsigned short h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(s));
  low[tid()] = h;
}
