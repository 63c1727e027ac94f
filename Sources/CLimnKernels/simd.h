// What the kernels share: vectors of 16 floats that the compiler maps to the registers of each instruction set, and
// the macros that make one instance of a function for each.
#pragma once
#include "limn_kernels.h"

#include <math.h>
#include <string.h>

// A product and a sum become a fused multiply-add only where the code says so: dequantised weights have to be the
// same to the bit on every machine.
#pragma STDC FP_CONTRACT OFF
// Functions that pass vectors are always inlined, so no calling convention is in play.
#pragma clang diagnostic ignored "-Wpsabi"

#define LIMN_INLINE static inline __attribute__((always_inline))
#define LIMN_UNROLL _Pragma("clang loop unroll(full)")

typedef float v16f __attribute__((vector_size(64)));
typedef float v16f_unaligned __attribute__((vector_size(64), aligned(4)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef _Float16 v16h __attribute__((vector_size(32)));
typedef _Float16 v16h_unaligned __attribute__((vector_size(32), aligned(2)));

#if defined(__x86_64__)
  #define LIMN_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
  #define LIMN_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
  #define LIMN_TARGET_VNNI \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")))
  #define LIMN_TARGET_BF16 \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c")))
  // Instances of name_body for every vector instruction set of this architecture.
  #define LIMN_VALUE_INSTANCES(type, name, parameters, arguments)                            \
    LIMN_TARGET_AVX2 static type name##_avx2 parameters { return name##_body arguments; }     \
    LIMN_TARGET_AVX512 static type name##_avx512 parameters { return name##_body arguments; }
  #define LIMN_PICK(isa, name) \
    ((isa) == LIMN_AVX512 ? name##_avx512 : (isa) == LIMN_AVX2 ? name##_avx2 : name##_scalar)
#elif defined(__aarch64__)
  #define LIMN_VALUE_INSTANCES(type, name, parameters, arguments) \
    static type name##_neon parameters { return name##_body arguments; }
  #define LIMN_PICK(isa, name) ((isa) == LIMN_NEON ? name##_neon : name##_scalar)
#else
  #define LIMN_VALUE_INSTANCES(type, name, parameters, arguments)
  #define LIMN_PICK(isa, name) name##_scalar
#endif

#define LIMN_INSTANCES(name, parameters, arguments) LIMN_VALUE_INSTANCES(void, name, parameters, arguments)
#define LIMN_KERNEL_INSTANCES(name)                                                     \
  LIMN_INSTANCES(name, (const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch), \
                 (job, begin, end, scratch))

LIMN_INLINE v16f v_load(const float *p) { return *(const v16f_unaligned *)p; }
LIMN_INLINE void v_store(float *p, v16f v) { *(v16f_unaligned *)p = v; }
LIMN_INLINE v16f v_splat(float x) { return x - (v16f){}; }
LIMN_INLINE v16f v_fma(v16f a, v16f b, v16f c) { return __builtin_elementwise_fma(a, b, c); }
LIMN_INLINE v16f v_max(v16f a, v16f b) { return __builtin_elementwise_max(a, b); }
LIMN_INLINE v16f v_min(v16f a, v16f b) { return __builtin_elementwise_min(a, b); }
LIMN_INLINE v16f v_abs(v16f a) { return __builtin_elementwise_abs(a); }
/// a where the mask's lane is all ones, b where it is zero.
LIMN_INLINE v16f v_select(v16i mask, v16f a, v16f b) { return (v16f)((mask & (v16i)a) | (~mask & (v16i)b)); }

/// Halves are added to halves, always in this order.
LIMN_INLINE float v_sum(v16f v) {
  float a[16];
  v_store(a, v);
  for (int n = 8; n > 0; n /= 2)
    for (int i = 0; i < n; i++) a[i] += a[i + n];
  return a[0];
}
LIMN_INLINE float v_largest(v16f v) {
  float a[16];
  v_store(a, v);
  for (int n = 8; n > 0; n /= 2)
    for (int i = 0; i < n; i++) a[i] = a[i] > a[i + n] ? a[i] : a[i + n];
  return a[0];
}

/// Up to 16 floats, the missing ones zero.
LIMN_INLINE v16f v_load_part(const float *p, ptrdiff_t count) {
  float a[16] = {0};
  memcpy(a, p, (size_t)count * sizeof(float));
  return v_load(a);
}
LIMN_INLINE void v_store_part(float *p, v16f v, ptrdiff_t count) {
  float a[16];
  v_store(a, v);
  memcpy(p, a, (size_t)count * sizeof(float));
}

/// eˣ within 2 units in the last place; 0 below −87.3 (so for −∞), +∞ above 88.7.
///
/// x = n · ln 2 + r with |r| ≤ ln 2 / 2; eʳ is its Taylor polynomial of degree 7 (remainder 5e-9); 2ⁿ goes into the
/// exponent in two steps, since n reaches 128.
LIMN_INLINE v16f v_exp(v16f x) {
  const v16f clamped = v_min(v_max(x, v_splat(-87.5f)), v_splat(89.0f));
  const v16f n = __builtin_elementwise_roundeven(clamped * 0x1.715476p+0f);
  v16f r = v_fma(n, v_splat(-0x1.62e4p-1f), clamped);
  r = v_fma(n, v_splat(-0x1.7f7d1cp-20f), r);
  v16f p = v_splat(1.0f / 5040);
  p = v_fma(p, r, v_splat(1.0f / 720));
  p = v_fma(p, r, v_splat(1.0f / 120));
  p = v_fma(p, r, v_splat(1.0f / 24));
  p = v_fma(p, r, v_splat(1.0f / 6));
  p = v_fma(p, r, v_splat(0.5f));
  p = v_fma(p, r, v_splat(1.0f));
  p = v_fma(p, r, v_splat(1.0f));
  const v16i whole = __builtin_convertvector(n, v16i), half = whole >> 1;
  const v16f result = p * (v16f)((half + 127) << 23) * (v16f)((whole - half + 127) << 23);
  return v_select(x < v_splat(-87.3f), v_splat(0), result);
}

// Half precision without hardware: exact to float, rounded to nearest even from float.

LIMN_INLINE float float_from_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
LIMN_INLINE uint32_t bits_from_float(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return bits;
}
LIMN_INLINE uint16_t load_u16(const void *p) {
  uint16_t value;
  memcpy(&value, p, 2);
  return value;
}
LIMN_INLINE float float_from_half(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
  if (exponent == 0) return float_from_bits(sign | bits_from_float((float)fraction * 0x1p-24f));
  const uint32_t biased = exponent == 31 ? 255 : exponent + 112;
  return float_from_bits(sign | biased << 23 | fraction << 13);
}
LIMN_INLINE uint16_t half_from_float(float f) {
  const uint32_t bits = bits_from_float(f), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (magnitude >= 0x47800000) return (uint16_t)(sign | 0x7c00);  // 65536 and above
  if (magnitude < 0x38800000)  // below 2⁻¹⁴: adding 1/2 puts the units of 2⁻²⁴ at the end of the fraction
    return (uint16_t)(sign | (bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000));
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}
LIMN_INLINE float float_from_bfloat(uint16_t b) { return float_from_bits((uint32_t)b << 16); }
LIMN_INLINE uint16_t bfloat_from_float(float f) {
  const uint32_t bits = bits_from_float(f);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/// 16 halves, on the vector instruction sets only (they all convert in hardware).
LIMN_INLINE v16f v_load_half(const void *p) {
  return __builtin_convertvector(*(const v16h_unaligned *)p, v16f);
}
LIMN_INLINE void v_store_half(void *p, v16f v) {
  *(v16h_unaligned *)p = __builtin_convertvector(v, v16h);
}
