// The few CUDA names that these kernels need, for clang with -nocudainc -nocudalib.
#pragma once
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __inline__ __attribute__((always_inline))

DEVICE unsigned tid() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE unsigned tid_y() { return __nvvm_read_ptx_sreg_tid_y(); }
DEVICE unsigned threads() { return __nvvm_read_ptx_sreg_ntid_x(); }
DEVICE unsigned block() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE unsigned block_y() { return __nvvm_read_ptx_sreg_ctaid_y(); }
DEVICE unsigned blocks() { return __nvvm_read_ptx_sreg_nctaid_x(); }
DEVICE void sync() { __syncthreads(); }
DEVICE float shfl_down(float v, unsigned by) { return __nvvm_shfl_sync_down_f32(0xffffffffu, v, by, 31); }
DEVICE float shfl_xor(float v, unsigned by) { return __nvvm_shfl_sync_bfly_f32(0xffffffffu, v, by, 31); }
DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE void float2_store(float *at, float x, float y) {
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(at), "f"(x), "f"(y) : "memory");
}
