// What all kernels share: vectors of 16 floats, which the compiler maps to the registers of each instruction set, and
// the macros that compile a function once for each of them.
#pragma once
#include "limn_kernels.h"

#include <math.h>
#include <string.h>

// A product and a sum are fused only where the code says so: dequantised weights must be the same to the bit on every
// machine.
#pragma STDC FP_CONTRACT OFF
// Functions with vector parameters are always inlined, so calling conventions do not matter.
#pragma clang diagnostic ignored "-Wpsabi"

#define LIMN_INLINE static inline __attribute__((always_inline))
#define LIMN_APART __attribute__((noinline))
/// A `for` loop that the compiler unrolls completely: LIMN_UNROLL (int i = 0; i < 4; i++) …
#define LIMN_UNROLL(...) _Pragma("clang loop unroll(full)") for (__VA_ARGS__)

typedef float v16f __attribute__((vector_size(64)));
typedef float v16f_unaligned __attribute__((vector_size(64), aligned(4)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef int32_t v16i_unaligned __attribute__((vector_size(64), aligned(1)));
typedef int32_t v8i_unaligned __attribute__((vector_size(32), aligned(1)));
typedef int32_t v4i_unaligned __attribute__((vector_size(16), aligned(1)));
typedef int16_t v16s __attribute__((vector_size(32)));
typedef uint16_t v16u_unaligned __attribute__((vector_size(32), aligned(1)));
typedef int8_t v16b_unaligned __attribute__((vector_size(16), aligned(1)));
typedef _Float16 v16h __attribute__((vector_size(32)));
typedef _Float16 v16h_unaligned __attribute__((vector_size(32), aligned(1)));

#if defined(__x86_64__)
#define LIMN_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#if defined(LIMN_EMULATED)
// `make test-x86`: instructions beyond AVX2 are computed in C, so that a processor without them can run their kernels.
#define LIMN_TARGET_AVX_VNNI LIMN_TARGET_AVX2
#define LIMN_TARGET_AVX512 LIMN_TARGET_AVX2
#define LIMN_TARGET_VNNI LIMN_TARGET_AVX2
#define LIMN_TARGET_BF16 LIMN_TARGET_AVX2
#else
#define LIMN_TARGET_AVX_VNNI __attribute__((target("avxvnni,avx2,fma,f16c")))
#define LIMN_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
#define LIMN_TARGET_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")))
#define LIMN_TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c")))
#endif
// One instance of name_body for every vector instruction set of this architecture.
#define LIMN_VALUE_INSTANCES(type, name, parameters, arguments)                         \
  LIMN_TARGET_AVX2 static type name##_avx2 parameters { return name##_body arguments; } \
  LIMN_TARGET_AVX512 static type name##_avx512 parameters { return name##_body arguments; }
#define LIMN_PICK(isa, name) ((isa) == LIMN_AVX512 ? name##_avx512 : (isa) == LIMN_AVX2 ? name##_avx2 : name##_scalar)
#elif defined(__aarch64__)
#define LIMN_VALUE_INSTANCES(type, name, parameters, arguments) \
  static type name##_neon parameters { return name##_body arguments; }
#define LIMN_PICK(isa, name) ((isa) == LIMN_NEON ? name##_neon : name##_scalar)
#else
#define LIMN_VALUE_INSTANCES(type, name, parameters, arguments)
#define LIMN_PICK(isa, name) name##_scalar
#endif

#define LIMN_INSTANCES(name, parameters, arguments) LIMN_VALUE_INSTANCES(void, name, parameters, arguments)
#define LIMN_KERNEL_INSTANCES(name) \
  LIMN_INSTANCES(name, (const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch), (job, begin, end, scratch))

/// A whole block of activations. Where the row ends within it (at a multiple of 32), they are copied to `part` and
/// padded with zeros.
LIMN_INLINE const float *limn_whole_block(const float *x, int columns, float part[LIMN_BLOCK]) {
  if (columns == LIMN_BLOCK) return x;
  memset(part, 0, LIMN_BLOCK * sizeof *part);
  return memcpy(part, x, (size_t)columns * sizeof *part);
}

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

LIMN_INLINE v16f v_load(const float *p) { return *(const v16f_unaligned *)p; }
LIMN_INLINE void v_store(float *p, v16f v) { *(v16f_unaligned *)p = v; }
LIMN_INLINE v16i v_load_bytes(const void *p) { return *(const v16i_unaligned *)p; }
LIMN_INLINE void v_store_bytes(void *p, v16i v) { *(v16i_unaligned *)p = v; }
/// 32 bytes from `low`, then 32 bytes from `high`.
LIMN_INLINE v16i v_join(const void *low, const void *high) {
  const v8i_unaligned a = *(const v8i_unaligned *)low, b = *(const v8i_unaligned *)high;
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
LIMN_INLINE v16f v_splat(float x) { return x - (v16f){}; }
LIMN_INLINE v16f v_fma(v16f a, v16f b, v16f c) { return __builtin_elementwise_fma(a, b, c); }
LIMN_INLINE v16f v_max(v16f a, v16f b) { return __builtin_elementwise_max(a, b); }
LIMN_INLINE v16f v_min(v16f a, v16f b) { return __builtin_elementwise_min(a, b); }
LIMN_INLINE v16f v_abs(v16f a) { return __builtin_elementwise_abs(a); }
/// a where the lane of the mask is all ones, b where it is zero.
LIMN_INLINE v16f v_select(v16i mask, v16f a, v16f b) { return (v16f)((mask & (v16i)a) | (~mask & (v16i)b)); }

/// The sum of the lanes: always the upper half added to the lower one, then again, so that the order is fixed.
LIMN_INLINE float v_sum(v16f v) {
  v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, -1, -1, -1, -1, -1, -1, -1, -1);
  v += __builtin_shufflevector(v, v, 4, 5, 6, 7, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  v += __builtin_shufflevector(v, v, 2, 3, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  return v[0] + v[1];
}
LIMN_INLINE float v_largest(v16f v) {
  v = v_max(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  v = v_max(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7));
  v = v_max(v, __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3));
  return v[0] > v[1] ? v[0] : v[1];
}

/// The bits of a float without its sign compare as magnitudes do, and those of NaN are the largest of all. So a maximum
/// of bits keeps a NaN, which a maximum of floats may lose.
LIMN_INLINE v16i v_magnitude(v16f v) { return (v16i)v & INT32_MAX; }
LIMN_INLINE float v_largest_magnitude(v16i magnitudes) {
  return float_from_bits((uint32_t)__builtin_reduce_max(magnitudes));
}
LIMN_INLINE float largest_magnitude(const float *x, ptrdiff_t count) {
  uint32_t most = 0;
  for (ptrdiff_t k = 0; k < count; k++) {
    const uint32_t magnitude = bits_from_float(x[k]) & INT32_MAX;
    most = magnitude > most ? magnitude : most;
  }
  return float_from_bits(most);
}
/// Whether values with this largest magnitude can be divided by it: not if they are all (nearly) zero, and not if one
/// is NaN or infinite. The scale is then the magnitude times zero: 0 or NaN.
LIMN_INLINE int is_scalable(float largest) { return largest > 1e-30f && largest <= 0x1.fffffep127f; }
/// Scales values so that the largest magnitude becomes `most`, rounds them to nearest even, and returns the scale: what
/// a unit of q stands for. (Nearly) zeros become zeros; if a value is not finite, the scale is NaN. Pairs of q are
/// `step` apart; nothing is written beyond the last value.
LIMN_INLINE float limn_round_to_16(const float *x, int count, int most, int16_t *q, ptrdiff_t step) {
  const float largest = largest_magnitude(x, count);
  const int any = is_scalable(largest);
  const float inverse = any ? (float)most / largest : 0;
  for (int k = 0; k < count; k++) q[k / 2 * step + k % 2] = any ? (int16_t)(int32_t)rintf(x[k] * inverse) : 0;
  return any ? largest / (float)most : largest * 0;
}
LIMN_INLINE v16i v_is_scalable(v16f largest) {
  return (largest > v_splat(1e-30f)) & (largest <= v_splat(0x1.fffffep127f));
}

LIMN_INLINE int32_t v_sum_int(v16i v) {
  int32_t a[16];
  v_store_bytes(a, v);
  for (int n = 8; n > 0; n /= 2)
    for (int i = 0; i < n; i++) a[i] += a[i + n];
  return a[0];
}

/// `count` ≤ 16 floats; the other lanes are zero.
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

#define LIMN_LOW_VALUES(x, y) __builtin_shufflevector(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define LIMN_HIGH_VALUES(x, y) __builtin_shufflevector(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LIMN_LOW_PAIRS(x, y) __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define LIMN_HIGH_PAIRS(x, y) __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)

/// Within each quarter of the vectors, lane j of vector i becomes lane i of vector j.
LIMN_INLINE void v_transpose_quarters(const v16i r[4], v16i out[4]) {
  const v16i a = LIMN_LOW_VALUES(r[0], r[1]), b = LIMN_HIGH_VALUES(r[0], r[1]);
  const v16i c = LIMN_LOW_VALUES(r[2], r[3]), d = LIMN_HIGH_VALUES(r[2], r[3]);
  out[0] = LIMN_LOW_PAIRS(a, c);
  out[1] = LIMN_HIGH_PAIRS(a, c);
  out[2] = LIMN_LOW_PAIRS(b, d);
  out[3] = LIMN_HIGH_PAIRS(b, d);
}

/// Lane j of vector i becomes lane i of vector j.
LIMN_INLINE void v_transpose(v16i r[16]) {
  v16i b[16];
  LIMN_UNROLL (int i = 0; i < 16; i += 4) v_transpose_quarters(r + i, b + i);
#define LIMN_LOW_HALVES(x, y) __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define LIMN_HIGH_HALVES(x, y) \
  __builtin_shufflevector(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#define LIMN_EVEN_QUARTERS(x, y) __builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define LIMN_ODD_QUARTERS(x, y) \
  __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
  LIMN_UNROLL (int c = 0; c < 4; c++) {
    const v16i p = LIMN_LOW_HALVES(b[c], b[c + 4]), q = LIMN_LOW_HALVES(b[c + 8], b[c + 12]);
    const v16i s = LIMN_HIGH_HALVES(b[c], b[c + 4]), t = LIMN_HIGH_HALVES(b[c + 8], b[c + 12]);
    r[c] = LIMN_EVEN_QUARTERS(p, q);
    r[c + 4] = LIMN_ODD_QUARTERS(p, q);
    r[c + 8] = LIMN_EVEN_QUARTERS(s, t);
    r[c + 12] = LIMN_ODD_QUARTERS(s, t);
  }
}

/// eʳ where x = n · ln 2 + r and |r| ≤ ln 2 / 2: the Taylor polynomial of degree 7 (remainder 5e-9).
LIMN_INLINE v16f v_exp_rest(v16f x, v16f n) {
  v16f r = v_fma(n, v_splat(-0x1.62e4p-1f), x);
  r = v_fma(n, v_splat(-0x1.7f7d1cp-20f), r);
  v16f p = v_splat(1.0f / 5040);
  p = v_fma(p, r, v_splat(1.0f / 720));
  p = v_fma(p, r, v_splat(1.0f / 120));
  p = v_fma(p, r, v_splat(1.0f / 24));
  p = v_fma(p, r, v_splat(1.0f / 6));
  p = v_fma(p, r, v_splat(0.5f));
  p = v_fma(p, r, v_splat(1.0f));
  return v_fma(p, r, v_splat(1.0f));
}

/// eˣ to within a unit in the last place; 0 below −87.3 (so for −∞), +∞ above 88.7. 2ⁿ is applied in two steps, since n
/// reaches 128.
LIMN_INLINE v16f v_exp(v16f x) {
  const v16f clamped = v_min(v_max(x, v_splat(-87.5f)), v_splat(89.0f));
  const v16f n = __builtin_elementwise_roundeven(clamped * 0x1.715476p+0f), p = v_exp_rest(clamped, n);
  const v16i whole = __builtin_convertvector(n, v16i), half = whole >> 1;
  const v16f result = p * (v16f)((half + 127) << 23) * (v16f)((whole - half + 127) << 23);
  return v_select(x < v_splat(-87.3f), v_splat(0), result);
}
/// eˣ for x ≤ 0, as softmax needs it, in fewer steps. NaN stays NaN.
LIMN_INLINE v16f v_exp_below(v16f x) {
  const v16f clamped = v_max(x, v_splat(-87.3f));
  const v16f n = __builtin_elementwise_roundeven(clamped * 0x1.715476p+0f), p = v_exp_rest(clamped, n);
  const v16f result = p * (v16f)((__builtin_convertvector(n, v16i) + 127) << 23);
  return v_select(x < v_splat(-87.3f), v_splat(0), v_select(x == x, result, x));
}

// Half precision in integer arithmetic: to float exactly, from float rounded to nearest even.

LIMN_INLINE uint16_t load_u16(const void *p) {
  uint16_t value;
  memcpy(&value, p, 2);
  return value;
}
LIMN_INLINE uint32_t load_u32(const void *p) {
  uint32_t value;
  memcpy(&value, p, 4);
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

/// 16 halves. Only for the vector instruction sets, which all convert in hardware.
LIMN_INLINE v16f v_load_half(const void *p) { return __builtin_convertvector(*(const v16h_unaligned *)p, v16f); }
/// 16 unsigned 16-bit numbers.
LIMN_INLINE v16i v_load_shorts(const void *p) { return __builtin_convertvector(*(const v16u_unaligned *)p, v16i); }
/// The halves in the lower 16 bits of each lane, as floats.
LIMN_INLINE v16f v_float_from_half(v16i bits) {
  return __builtin_convertvector((v16h) __builtin_convertvector(bits, v16s), v16f);
}
LIMN_INLINE void v_store_half(void *p, v16f v) { *(v16h_unaligned *)p = __builtin_convertvector(v, v16h); }

// The first steps of unpacking 16 weight rows.

/// The address of each row. Rows past the last one repeat it; their results are dropped later.
LIMN_INLINE void v_rows(const void *weight, size_t row_bytes, int rows, const uint8_t *row[LIMN_PANEL_ROWS]) {
  for (int r = 0; r < LIMN_PANEL_ROWS; r++)
    row[r] = (const uint8_t *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes;
}

/// 16 bytes of each row as four vectors of 32-bit words, with one row per lane.
LIMN_INLINE void v_load_words(const uint8_t *const row[LIMN_PANEL_ROWS], size_t offset, v16i words[4]) {
  v16i r[4];
  LIMN_UNROLL (int i = 0; i < 4; i++) {
    const v4i_unaligned a = *(const v4i_unaligned *)(row[i] + offset);
    const v4i_unaligned b = *(const v4i_unaligned *)(row[i + 4] + offset);
    const v4i_unaligned c = *(const v4i_unaligned *)(row[i + 8] + offset);
    const v4i_unaligned d = *(const v4i_unaligned *)(row[i + 12] + offset);
    r[i] = __builtin_shufflevector(
      __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7), __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7), 0,
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  v_transpose_quarters(r, words);
}

/// One half of each row, as floats.
LIMN_INLINE v16f v_load_halves(const uint8_t *const row[LIMN_PANEL_ROWS], size_t offset) {
  uint16_t halves[LIMN_PANEL_ROWS];
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) halves[r] = load_u16(row[r] + offset);
  return v_load_half(halves);
}
