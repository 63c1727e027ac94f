// Element-wise functions: GELU, SiLU times a gate, sums.
#include "kernels.h"
#include "simd.h"

// MARK: The scalar reference, by way of the C library

static void gelu_erf_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  float *x = ((const limn_elements_job *)job)->x;
  for (ptrdiff_t i = begin; i < end; i++) x[i] = 0.5f * x[i] * erfcf(-x[i] * 0x1.6a09e6p-1f);
}
static void gelu_tanh_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  float *x = ((const limn_elements_job *)job)->x;
  for (ptrdiff_t i = begin; i < end; i++)
    x[i] = x[i] / (1 + expf(-1.5957691216f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
}
static void gelu_quick_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  float *x = ((const limn_elements_job *)job)->x;
  for (ptrdiff_t i = begin; i < end; i++) x[i] = x[i] / (1 + expf(-1.702f * x[i]));
}
static void silu_multiply_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_elements_job *j = job;
  for (ptrdiff_t i = begin; i < end; i++) j->x[i] = j->x[i] / (1 + expf(-j->x[i])) * j->other[i];
}
static void add_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_elements_job *j = job;
  for (ptrdiff_t i = begin; i < end; i++) j->x[i] += j->other[i];
}

// MARK: Vectors

/// GELU: x · Φ(x), where Φ(x) = erfc(−x / √2) / 2 is the normal distribution.
///
/// Φ(−a) = exp(−a²/2) · p(t) with t = 1 / (1 + 0.3 a) for a ≥ 0; p is a polynomial of degree 8, fitted over 0 ≤ a ≤ 14
/// to a relative error of 6e-8. (By way of erf, all digits would be lost for x < −5.) The rounding error of a² is
/// compensated. Beyond 20, Φ(−a) is zero in float32, so a is limited there before its square becomes infinite.
LIMN_INLINE v16f gelu_erf(v16f x, v16f other) {
  (void)other;
  const v16f a = v_abs(x), t = 1.0f / (1.0f + 0.3f * a);
  v16f p = v_splat(0.03837832435965538f);
  p = v_fma(p, t, v_splat(-0.16916626691818237f));
  p = v_fma(p, t, v_splat(0.22866037487983704f));
  p = v_fma(p, t, v_splat(-0.07650679349899292f));
  p = v_fma(p, t, v_splat(0.1425357311964035f));
  p = v_fma(p, t, v_splat(0.0946834459900856f));
  p = v_fma(p, t, v_splat(0.12192036211490631f));
  p = v_fma(p, t, v_splat(0.1194876879453659f));
  p = v_fma(p, t, v_splat(7.168987394834403e-06f));
  const v16f near = v_min(a, v_splat(20)), square = near * near, lost = v_fma(near, near, -square);
  const v16f below = x * (v_exp(-0.5f * square) * (1.0f - 0.5f * lost) * p);
  return v_select(x < 0.0f, below, x - below);
}

/// GELU's tanh approximation: x/2 · (1 + tanh u) = x · σ(2u), without cancellation where tanh nears −1.
LIMN_INLINE v16f gelu_tanh(v16f x, v16f other) {
  (void)other;
  return x / (1.0f + v_exp(-1.5957691216f * (x + 0.044715f * x * x * x)));
}
LIMN_INLINE v16f gelu_quick(v16f x, v16f other) {
  (void)other;
  return x / (1.0f + v_exp(-1.702f * x));
}
LIMN_INLINE v16f silu_multiply(v16f x, v16f other) { return x / (1.0f + v_exp(-x)) * other; }
LIMN_INLINE v16f add(v16f x, v16f other) { return x + other; }

/// The last vector of a range is padded, so that the bits of an element do not depend on where ranges begin and end.
#define LIMN_ELEMENTS(name)                                                                                   \
  LIMN_INLINE void name##_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {              \
    (void)scratch;                                                                                            \
    const limn_elements_job *j = job;                                                                         \
    const float *other = j->other ? j->other : j->x;                                                          \
    ptrdiff_t i = begin;                                                                                      \
    for (; i + 16 <= end; i += 16) v_store(j->x + i, name(v_load(j->x + i), v_load(other + i)));              \
    if (i < end)                                                                                              \
      v_store_part(j->x + i, name(v_load_part(j->x + i, end - i), v_load_part(other + i, end - i)), end - i); \
  }                                                                                                           \
  LIMN_KERNEL_INSTANCES(name)

LIMN_ELEMENTS(gelu_erf)
LIMN_ELEMENTS(gelu_tanh)
LIMN_ELEMENTS(gelu_quick)
LIMN_ELEMENTS(silu_multiply)
LIMN_ELEMENTS(add)

void limn_install_activation(limn_kernels *kernels) {
  const limn_isa isa = kernels->isa;
  kernels->gelu_erf = LIMN_PICK(isa, gelu_erf);
  kernels->gelu_tanh = LIMN_PICK(isa, gelu_tanh);
  kernels->gelu_quick = LIMN_PICK(isa, gelu_quick);
  kernels->silu_multiply = LIMN_PICK(isa, silu_multiply);
  kernels->add = LIMN_PICK(isa, add);
}
