// Shared by the encoders of blocks: finding the scale (and offset) with which a few codes represent many values best.
//
// "Best" means the smallest sum of squared errors. Without measured activations, nothing says that one weight of a row
// matters more than another, and that sum is then the expected error of a layer's output.
//
// Groups are independent, so the lanes of a vector are 16 groups: all sums are vertical, with their terms in the order
// of the scalar reference, and every instruction set writes the same bytes.
#pragma once
#include "kernels.h"
#include "simd.h"

enum { LIMN_LANES = 16 };

/// A group whose largest magnitude is below this counts as zeros; float16, the type of scales, has nothing as small by
/// far.
#define LIMN_NOTHING 1e-15f

/// Scales that are tried map the largest value to the last code, give or take this many tenths of a code.
#define LIMN_TENTHS 9
/// Tenths from one candidate to the next where only a scale is fitted: finer steps gain less than 1 in 1000.
#define LIMN_STEP 3
/// The number of times that the best candidate is refined: codes for the scale, then the scale for the codes.
#define LIMN_IMPROVEMENTS 2

LIMN_INLINE float code_of(float scaled, float low, float high) {
  return __builtin_elementwise_min(__builtin_elementwise_max(__builtin_elementwise_roundeven(scaled), low), high);
}
LIMN_INLINE v16f v_code_of(v16f scaled, float low, float high) {
  return v_min(v_max(__builtin_elementwise_roundeven(scaled), v_splat(low)), v_splat(high));
}

/// 1 / x; 0 if x is 0 or so small that its inverse would be infinite.
LIMN_INLINE float inverse_of(float x) { return fabsf(x) < 3e-39f ? 0 : 1 / x; }
LIMN_INLINE v16f v_inverse_of(v16f x) { return v_select(v_abs(x) < v_splat(3e-39f), v_splat(0), v_splat(1) / x); }

/// Rounded to float16.
LIMN_INLINE float rounded_to_half(float x) { return float_from_half(half_from_float(x)); }

// MARK: x ≈ scale · q, with codes −n … n − 1

typedef struct {
  float xq, qq;  // Σ x · q and Σ q²; scale = xq / qq, and the larger xq² / qq, the smaller the error
} limn_fit;

LIMN_INLINE limn_fit try_scale(const float *x, int count, int n, float inverse, limn_fit best) {
  limn_fit fit = {0, 0};
  for (int i = 0; i < count; i++) {
    const float q = code_of(x[i] * inverse, (float)-n, (float)(n - 1));
    fit.xq = __builtin_elementwise_fma(x[i], q, fit.xq);
    fit.qq = __builtin_elementwise_fma(q, q, fit.qq);
  }
  return fit.xq * fit.xq * best.qq > best.xq * best.xq * fit.qq ? fit : best;
}

/// The scale of a group; 0 for zeros. It is negative if the largest value is positive, since there is one code more
/// below 0 than above.
LIMN_INLINE float fit_scale(const float *x, int count, int n) {
  float largest = 0;
  for (int i = 0; i < count; i++)
    if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
  if (fabsf(largest) < LIMN_NOTHING) return 0;
  // The plain scale goes first, since of equally good candidates the first is kept: float16 holds it exactly if the
  // largest value is a power of two.
  limn_fit best = try_scale(x, count, n, -(float)n / largest, (limn_fit){0, 1});
  for (int tenth = -LIMN_TENTHS; tenth <= LIMN_TENTHS; tenth += LIMN_STEP)
    best = try_scale(x, count, n, -((float)n + 0.1f * (float)tenth) / largest, best);
  for (int i = 0; i < LIMN_IMPROVEMENTS; i++) best = try_scale(x, count, n, best.qq / best.xq, best);
  return best.xq / best.qq;
}

typedef struct {
  v16f xq, qq;
} limn_v_fit;

LIMN_INLINE limn_v_fit v_try_scale(const v16f *x, int count, int n, v16f inverse, limn_v_fit best) {
  v16f xq = {}, qq = {};
  for (int i = 0; i < count; i++) {
    const v16f q = v_code_of(x[i] * inverse, (float)-n, (float)(n - 1));
    xq = v_fma(x[i], q, xq);
    qq = v_fma(q, q, qq);
  }
  const v16i better = xq * xq * best.qq > best.xq * best.xq * qq;
  return (limn_v_fit){v_select(better, xq, best.xq), v_select(better, qq, best.qq)};
}

/// The scales of 16 groups; x[i] holds value i of each.
LIMN_INLINE v16f v_fit_scale(const v16f *x, int count, int n) {
  v16f largest = {};
  for (int i = 0; i < count; i++) largest = v_select(v_abs(x[i]) > v_abs(largest), x[i], largest);
  const v16i nothing = v_abs(largest) < v_splat(LIMN_NOTHING);
  const v16f safe = v_select(nothing, v_splat(1), largest);
  limn_v_fit best = v_try_scale(x, count, n, v_splat(-(float)n) / safe, (limn_v_fit){v_splat(0), v_splat(1)});
  for (int tenth = -LIMN_TENTHS; tenth <= LIMN_TENTHS; tenth += LIMN_STEP)
    best = v_try_scale(x, count, n, v_splat(-((float)n + 0.1f * (float)tenth)) / safe, best);
  for (int i = 0; i < LIMN_IMPROVEMENTS; i++) best = v_try_scale(x, count, n, best.qq / best.xq, best);
  return v_select(nothing, v_splat(0), best.xq / best.qq);
}

// MARK: x ≈ scale · q + offset, with codes 0 … top

typedef struct {
  float scale, offset, gain;  // the larger the gain, the smaller the error: Σ (x − scale · q − offset)² = Σ x² − gain
} limn_line;

/// `most` is the largest offset that the format can hold: 0, or infinity.
LIMN_INLINE limn_line try_line(
  const float *x, int count, int top, float most, float sum, float inverse, float start, limn_line best) {
  float q1 = 0, qq = 0, xq = 0;
  for (int i = 0; i < count; i++) {
    const float q = code_of((x[i] - start) * inverse, 0, (float)top);
    q1 += q;
    qq = __builtin_elementwise_fma(q, q, qq);
    xq = __builtin_elementwise_fma(x[i], q, xq);
  }
  const float n = (float)count, determinant = n * qq - q1 * q1;
  float scale = (n * xq - sum * q1) / determinant, offset = (qq * sum - q1 * xq) / determinant;
  if (!(determinant > 0 && offset <= most)) {
    offset = 0;
    scale = xq * inverse_of(qq);
  }
  const float gain = scale * xq + offset * sum;
  return gain > best.gain && scale > 0 ? (limn_line){scale, offset, gain} : best;
}

LIMN_INLINE limn_line fit_line(const float *x, int count, int top, float most) {
  float low = x[0], high = x[0], sum = 0;
  for (int i = 0; i < count; i++) {
    low = __builtin_elementwise_min(low, x[i]);
    high = __builtin_elementwise_max(high, x[i]);
    sum += x[i];
  }
  low = __builtin_elementwise_min(low, most);
  const float range = high - low;
  if (range < LIMN_NOTHING) return (limn_line){0, low, 0};
  limn_line best = {range / (float)top, low, -INFINITY};
  best = try_line(x, count, top, most, sum, (float)top / range, low, best);
  for (int tenth = -LIMN_TENTHS - 1; tenth <= LIMN_TENTHS + 1; tenth++)
    best = try_line(x, count, top, most, sum, ((float)top + 0.1f * (float)tenth) / range, low, best);
  for (int i = 0; i < LIMN_IMPROVEMENTS; i++)
    best = try_line(x, count, top, most, sum, 1 / best.scale, best.offset, best);
  return best;
}

typedef struct {
  v16f scale, offset, gain;
} limn_v_line;

LIMN_INLINE limn_v_line v_try_line(
  const v16f *x, int count, int top, float most, v16f sum, v16f inverse, v16f start, limn_v_line best) {
  v16f q1 = {}, qq = {}, xq = {};
  for (int i = 0; i < count; i++) {
    const v16f q = v_code_of((x[i] - start) * inverse, 0, (float)top);
    q1 += q;
    qq = v_fma(q, q, qq);
    xq = v_fma(x[i], q, xq);
  }
  const v16f n = v_splat((float)count), determinant = n * qq - q1 * q1;
  v16f scale = (n * xq - sum * q1) / determinant, offset = (qq * sum - q1 * xq) / determinant;
  const v16i fits = (determinant > v_splat(0)) & (offset <= v_splat(most));
  offset = v_select(fits, offset, v_splat(0));
  scale = v_select(fits, scale, xq * v_inverse_of(qq));
  const v16f gain = scale * xq + offset * sum;
  const v16i better = (gain > best.gain) & (scale > v_splat(0));
  best.scale = v_select(better, scale, best.scale);
  best.offset = v_select(better, offset, best.offset);
  best.gain = v_select(better, gain, best.gain);
  return best;
}

LIMN_INLINE limn_v_line v_fit_line(const v16f *x, int count, int top, float most) {
  v16f low = x[0], high = x[0], sum = {};
  for (int i = 0; i < count; i++) {
    low = v_min(low, x[i]);
    high = v_max(high, x[i]);
    sum += x[i];
  }
  low = v_min(low, v_splat(most));
  const v16i nothing = high - low < v_splat(LIMN_NOTHING);
  const v16f range = v_select(nothing, v_splat(1), high - low);
  limn_v_line best = {range / v_splat((float)top), low, v_splat(-INFINITY)};
  best = v_try_line(x, count, top, most, sum, v_splat((float)top) / range, low, best);
  for (int tenth = -LIMN_TENTHS - 1; tenth <= LIMN_TENTHS + 1; tenth++)
    best = v_try_line(x, count, top, most, sum, v_splat((float)top + 0.1f * (float)tenth) / range, low, best);
  for (int i = 0; i < LIMN_IMPROVEMENTS; i++)
    best = v_try_line(x, count, top, most, sum, v_splat(1) / best.scale, best.offset, best);
  best.scale = v_select(nothing, v_splat(0), best.scale);
  best.offset = v_select(nothing, low, best.offset);
  return best;
}

// MARK: Lanes

/// Loads 16 adjacent groups side by side: x[i] gets value i of each. `count`, the size of a group, is 16 or 32.
LIMN_INLINE void v_load_groups(const float *values, int count, v16f *x) {
  for (int part = 0; part < count; part += 16) {
    v16i r[16];
    LIMN_UNROLL (int g = 0; g < 16; g++) r[g] = v_load_bytes(values + g * count + part);
    v_transpose(r);
    LIMN_UNROLL (int i = 0; i < 16; i++) x[part + i] = (v16f)r[i];
  }
}

/// The inverse for codes: q[i] holds code i of each group, and codes[part of 16][group] gets those of one group.
LIMN_INLINE void v_store_groups(const v16f *q, int count, v16i codes[][16]) {
  for (int part = 0; part < count; part += 16) {
    v16i *r = codes[part / 16];
    LIMN_UNROLL (int i = 0; i < 16; i++) r[i] = __builtin_convertvector(q[part + i], v16i);
    v_transpose(r);
  }
}

/// Stores the lowest byte of each lane.
LIMN_INLINE void v_store_low_bytes(void *p, v16i v) {
  typedef uint8_t v16u8 __attribute__((vector_size(16), aligned(1)));
  *(v16u8 *)p = __builtin_convertvector(v, v16u8);
}

// MARK: The encoders

/// The encoder of a type for an instruction set; NULL for types that the file does not encode.
limn_encode *limn_encoder_blocks_32(limn_isa isa, limn_type type);
limn_encode *limn_encoder_blocks_k(limn_isa isa, limn_type type);
limn_encode *limn_encoder_blocks_low(limn_isa isa, limn_type type);
