// Encoders of the formats with few codes or a table of values: Q2_K, Q3_K, IQ4_NL, IQ4_XS. Drawn in formats/.
//
// With so few codes the choice of the scales decides: each group's is fitted by itself and rounded to the bits that the
// super-block has for it, its neighbours are tried as well, and the super-block's d (and dmin) are fitted to the codes;
// then scales are chosen again for that d. The lanes of a vector are 16 groups, also without vector instructions: one
// super-block of Q2_K or Q3_K, two of IQ4_XS, 16 blocks of IQ4_NL.
#include "encode.h"

extern const int8_t limn_table_iq4[16];

LIMN_INLINE void store_half(uint8_t *p, float x) {
  const uint16_t half = half_from_float(x);
  memcpy(p, &half, 2);
}

LIMN_INLINE v16f v_rounded_to_half(v16f x) {
  float lanes[16];
  v_store(lanes, x);
  for (int g = 0; g < 16; g++) lanes[g] = rounded_to_half(lanes[g]);
  return v_load(lanes);
}

// MARK: x ≈ scale · level, with levels that are symmetric or nearly so

typedef enum { LEVELS_3_BITS, LEVELS_IQ4 } levels;  // −4 … 3, or IQ4's table

LIMN_INLINE v16f v_level_of(levels of, v16f x) {
  if (of == LEVELS_3_BITS) return v_code_of(x, -4, 3);
  v16f level = v_splat(limn_table_iq4[0]);
  for (int i = 0; i < 15; i++) {
    const float low = limn_table_iq4[i], high = limn_table_iq4[i + 1];
    level = v_select(x > v_splat(0.5f * (low + high)), v_splat(high), level);
  }
  return level;
}

/// The numbers by which codes name levels.
LIMN_INLINE v16f v_number_of(levels of, v16f level) {
  if (of == LEVELS_3_BITS) return level + v_splat(4);
  v16f number = {};
  for (int i = 0; i < 15; i++)
    number += v_select(level > v_splat(limn_table_iq4[i]), v_splat(1), v_splat(0));
  return number;
}

LIMN_INLINE limn_v_fit v_try_levels(levels of, const v16f *x, int count, v16f inverse, limn_v_fit best) {
  v16f xq = {}, qq = {};
  for (int i = 0; i < count; i++) {
    const v16f level = v_level_of(of, x[i] * inverse);
    xq = v_fma(x[i], level, xq);
    qq = v_fma(level, level, qq);
  }
  const v16i better = xq * xq * best.qq > best.xq * best.xq * qq;
  return (limn_v_fit){v_select(better, xq, best.xq), v_select(better, qq, best.qq)};
}

/// The scales of 16 groups; 0 for zeros. The largest value becomes the first or the last level, give or take.
LIMN_INLINE v16f v_fit_levels(levels of, const v16f *x, int count) {
  v16f largest = {};
  for (int i = 0; i < count; i++) largest = v_select(v_abs(x[i]) > v_abs(largest), x[i], largest);
  const v16i nothing = v_abs(largest) < v_splat(LIMN_NOTHING);
  const v16f safe = v_select(nothing, v_splat(1), largest);
  const float first = of == LEVELS_3_BITS ? -4 : limn_table_iq4[0], last = of == LEVELS_3_BITS ? 3 : limn_table_iq4[15];
  const float step = of == LEVELS_3_BITS ? 0.1f : 1;
  limn_v_fit best = v_try_levels(of, x, count, v_splat(first) / safe, (limn_v_fit){v_splat(0), v_splat(1)});
  for (int tenth = -LIMN_TENTHS; tenth <= LIMN_TENTHS; tenth += LIMN_STEP) {
    best = v_try_levels(of, x, count, v_splat(first + step * (float)tenth) / safe, best);
    best = v_try_levels(of, x, count, v_splat(last + step * (float)tenth) / safe, best);
  }
  for (int i = 0; i < LIMN_IMPROVEMENTS; i++) best = v_try_levels(of, x, count, best.qq / best.xq, best);
  return v_select(nothing, v_splat(0), best.xq / best.qq);
}

LIMN_INLINE v16f v_levels_error(levels of, const v16f *x, int count, v16f scale) {
  const v16f inverse = v_inverse_of(scale);
  v16f error = {};
  for (int i = 0; i < count; i++) {
    const v16f miss = x[i] - scale * v_level_of(of, x[i] * inverse);
    error = v_fma(miss, miss, error);
  }
  return error;
}

// MARK: Super-blocks with signed scales of six bits: weight = d · scale · level

/// What is written of 16 groups: in each lane the super-block's d and the group's scale.
typedef struct {
  v16f d, scale, error;
} signed_groups;

/// Combines the lanes of each super-block: their sum, or the value of the largest magnitude.
LIMN_INLINE v16f v_over_blocks(v16f x, int blocks, int is_largest) {
  float lanes[16];
  v_store(lanes, x);
  const int groups = 16 / blocks;
  for (int b = 0; b < blocks; b++) {
    float *of = lanes + b * groups, all = 0;
    for (int g = 0; g < groups; g++) all = !is_largest ? all + of[g] : fabsf(of[g]) > fabsf(all) ? of[g] : all;
    for (int g = 0; g < groups; g++) of[g] = all;
  }
  return v_load(lanes);
}

/// The scales that suit d best, each near the group's own.
LIMN_INLINE void v_choose_scales(levels of, const v16f *x, int count, v16f fitted, signed_groups *k) {
  const v16f given = v_code_of(fitted * v_inverse_of(k->d), -32, 31);
  k->scale = given;
  k->error = v_levels_error(of, x, count, k->d * given);
  for (int step = -1; step <= 1; step += 2) {
    const v16f scale = v_code_of(given + v_splat((float)step), -32, 31);
    const v16f error = v_levels_error(of, x, count, k->d * scale);
    k->scale = v_select(error < k->error, scale, k->scale);
    k->error = v_select(error < k->error, error, k->error);
  }
}

/// The d that fits scales and levels best.
LIMN_INLINE v16f v_fitted_d(levels of, const v16f *x, int count, int blocks, const signed_groups *k) {
  const v16f inverse = v_inverse_of(k->d * k->scale);
  v16f qq = {}, xq = {};
  for (int i = 0; i < count; i++) {
    const v16f level = v_level_of(of, x[i] * inverse);
    qq = v_fma(level, level, qq);
    xq = v_fma(x[i], level, xq);
  }
  const v16f uu = v_over_blocks(k->scale * k->scale * qq, blocks, 0), xu = v_over_blocks(k->scale * xq, blocks, 0);
  return v_rounded_to_half(xu * v_inverse_of(uu));
}

/// Fits 16 groups, which are so many super-blocks; x becomes the numbers of their levels.
LIMN_INLINE signed_groups v_encode_signed(levels of, v16f *x, int count, int blocks) {
  const v16f fitted = v_fit_levels(of, x, count), largest = v_over_blocks(fitted, blocks, 1);
  signed_groups best = {.error = v_splat(INFINITY)};
  v16f least = best.error;
  for (int sign = 0; sign < 2; sign++) {
    signed_groups k = {.d = v_rounded_to_half(largest / v_splat(sign ? 31 : -32))};
    for (int round = 0; round < LIMN_IMPROVEMENTS; round++) {
      v_choose_scales(of, x, count, fitted, &k);
      const v16f all = v_over_blocks(k.error, blocks, 0);
      const v16i better = all < least;
      least = v_select(better, all, least);
      best.d = v_select(better, k.d, best.d);
      best.scale = v_select(better, k.scale, best.scale);
      best.error = v_select(better, k.error, best.error);
      k.d = v_fitted_d(of, x, count, blocks, &k);
    }
  }
  const v16f inverse = v_inverse_of(best.d * best.scale);
  for (int i = 0; i < count; i++) x[i] = v_number_of(of, v_level_of(of, x[i] * inverse));
  return best;
}

// MARK: Q3_K

typedef struct {
  uint8_t high[32], low[64], scales[12], d[2];
} q3_k;
_Static_assert(sizeof(q3_k) == LIMN_Q3_K_BYTES, "Q3_K block");

/// Two bits of each code of a super-block, four codes a byte.
LIMN_INLINE void v_store_pairs_of_bits(const v16i *codes, uint8_t *to) {
  LIMN_UNROLL (int part = 0; part < 4; part++) {
    const v16i *of = codes + part / 2 * 8 + part % 2;
    v_store_low_bytes(
      to + part * 16, (of[0] & 3) | (of[2] & 3) << 2 | (of[4] & 3) << 4 | (of[6] & 3) << 6);
  }
}

LIMN_INLINE double q3_blocks(const float *values, uint8_t *to, int count) {
  (void)count;
  v16f x[16];
  v_load_groups(values, 16, x);
  const signed_groups k = v_encode_signed(LEVELS_3_BITS, x, 16, 1);
  v16i codes[1][16];
  v_store_groups(x, 16, codes);
  q3_k *block = (q3_k *)to;
  memset(block->scales, 0, sizeof block->scales);
  float scales[16], d[16], errors[16], error = 0;
  v_store(scales, k.scale);
  v_store(d, k.d);
  v_store(errors, k.error);
  store_half(block->d, d[0]);
  for (int g = 0; g < 16; g++) {
    const int scale = (int)scales[g] + 32;
    block->scales[g % 8] |= (uint8_t)((scale & 15) << g / 8 * 4);
    block->scales[8 + g % 4] |= (uint8_t)(scale >> 4 << g / 4 * 2);
    error += errors[g];
  }
  v_store_pairs_of_bits(codes[0], block->low);
  LIMN_UNROLL (int half = 0; half < 2; half++) {
    v16i bits = {};
    LIMN_UNROLL (int i = 0; i < 8; i++) bits |= codes[0][i * 2 + half] >> 2 << i;
    v_store_low_bytes(block->high + half * 16, bits);
  }
  return error;
}

// MARK: IQ4_XS and IQ4_NL

typedef struct {
  uint8_t d[2], scales_high[2], scales_low[4], q[8][16];
} iq4_xs_block;
_Static_assert(sizeof(iq4_xs_block) == LIMN_IQ4_XS_BYTES, "IQ4_XS block");

LIMN_INLINE double iq4_xs_blocks(const float *values, uint8_t *to, int count) {
  v16f x[32];
  v_load_groups(values, 32, x);
  const signed_groups k = v_encode_signed(LEVELS_IQ4, x, 32, 2);
  v16i codes[2][16];
  v_store_groups(x, 32, codes);
  float scales[16], d[16], errors[16], error = 0;
  v_store(scales, k.scale);
  v_store(d, k.d);
  v_store(errors, k.error);
  for (int g = 0; g < count * 8; g++) {
    iq4_xs_block *block = (iq4_xs_block *)to + g / 8;
    if (g % 8 == 0) memset(block, 0, offsetof(iq4_xs_block, q));
    store_half(block->d, d[g]);
    const int scale = (int)scales[g] + 32, in = g % 8;
    block->scales_low[in / 2] |= (uint8_t)((scale & 15) << in % 2 * 4);
    block->scales_high[in / 4] |= (uint8_t)(scale >> 4 << in % 4 * 2);
    v_store_low_bytes(block->q[in], codes[0][g] | codes[1][g] << 4);
    error += errors[g];
  }
  return error;
}

LIMN_INLINE double iq4_nl_blocks(const float *values, uint8_t *to, int count) {
  v16f x[32];
  v_load_groups(values, 32, x);
  const v16f d = v_rounded_to_half(v_fit_levels(LEVELS_IQ4, x, 32)), inverse = v_inverse_of(d);
  float halves[16], errors[16], error = 0;
  v_store(halves, d);
  v_store(errors, v_levels_error(LEVELS_IQ4, x, 32, d));
  for (int i = 0; i < 32; i++) x[i] = v_number_of(LEVELS_IQ4, v_level_of(LEVELS_IQ4, x[i] * inverse));
  v16i codes[2][16];
  v_store_groups(x, 32, codes);
  for (int g = 0; g < count; g++) {
    uint8_t *block = to + (size_t)g * LIMN_IQ4_NL_BYTES;
    store_half(block, halves[g]);
    v_store_low_bytes(block + 2, codes[0][g] | codes[1][g] << 4);
    error += errors[g];
  }
  return error;
}

// MARK: Q2_K: weight = d · scale · q − dmin · min, 16 groups of 16, scales and minimums of four bits, q of two

typedef struct {
  uint8_t scales[16], q[64], d[2], dmin[2];
} q2_k;
_Static_assert(sizeof(q2_k) == LIMN_Q2_K_BYTES, "Q2_K block");

/// What is written of 16 groups.
typedef struct {
  float d, dmin;
  v16f scale, min, error;
} q2_groups;

LIMN_INLINE v16f v_q2_error(const v16f *x, v16f scale, v16f min) {
  const v16f inverse = v_inverse_of(scale);
  v16f error = {};
  for (int i = 0; i < 16; i++) {
    const v16f code = v_code_of((x[i] + min) * inverse, 0, 3), miss = x[i] - (scale * code - min);
    error = v_fma(miss, miss, error);
  }
  return error;
}

/// The scales and minimums that suit d and dmin best, near the groups' own.
LIMN_INLINE void v_q2_choose(const v16f *x, v16f scale, v16f min, q2_groups *k) {
  const v16f d = v_splat(k->d), dmin = v_splat(k->dmin);
  const v16f given = v_code_of(scale * v_inverse_of(d), 0, 15), given_min = v_code_of(min * v_inverse_of(dmin), 0, 15);
  k->scale = given;
  k->min = given_min;
  k->error = v_q2_error(x, d * given, dmin * given_min);
  for (int step = -1; step <= 1; step++) {
    for (int min_step = -2; min_step <= 2; min_step++) {
      const v16f new_scale = v_code_of(given + v_splat((float)step), 0, 15);
      const v16f new_min = v_code_of(given_min + v_splat((float)min_step), 0, 15);
      const v16f error = v_q2_error(x, d * new_scale, dmin * new_min);
      const v16i better = error < k->error;
      k->scale = v_select(better, new_scale, k->scale);
      k->min = v_select(better, new_min, k->min);
      k->error = v_select(better, error, k->error);
    }
  }
}

LIMN_INLINE float sum_of_lanes(v16f x) {
  float lanes[16], sum = 0;
  v_store(lanes, x);
  for (int g = 0; g < 16; g++) sum += lanes[g];
  return sum;
}

/// The d and dmin that fit the codes best, by least squares.
LIMN_INLINE void v_q2_fit(const v16f *x, q2_groups *k) {
  const v16f min = v_splat(k->dmin) * k->min, inverse = v_inverse_of(v_splat(k->d) * k->scale);
  v16f q1 = {}, qq = {}, xq = {}, sum = {};
  for (int i = 0; i < 16; i++) {
    const v16f code = v_code_of((x[i] + min) * inverse, 0, 3);
    q1 += code;
    qq = v_fma(code, code, qq);
    xq = v_fma(x[i], code, xq);
    sum += x[i];
  }
  const float uu = sum_of_lanes(k->scale * k->scale * qq), uv = sum_of_lanes(k->scale * k->min * q1);
  const float vv = sum_of_lanes(k->min * k->min * v_splat(16));
  const float xu = sum_of_lanes(k->scale * xq), xv = sum_of_lanes(k->min * sum);
  const float determinant = uu * vv - uv * uv;
  const float d = (xu * vv - uv * xv) / determinant, dmin = (xu * uv - uu * xv) / determinant;
  if (determinant > 1e-6f * uu * vv && d > 0 && dmin > 0) {
    k->d = rounded_to_half(d);
    k->dmin = rounded_to_half(dmin);
  } else if (uu > 0 && vv == 0) {
    k->d = rounded_to_half(xu / uu);
  }
}

LIMN_INLINE double q2_blocks(const float *values, uint8_t *to, int count) {
  (void)count;
  v16f x[16];
  v_load_groups(values, 16, x);
  const limn_v_line line = v_fit_line(x, 16, 3, 0);
  float scales[16], mins[16], largest_scale = 0, largest_min = 0;
  v_store(scales, line.scale);
  v_store(mins, -line.offset);
  for (int g = 0; g < 16; g++) {
    largest_scale = __builtin_elementwise_max(largest_scale, scales[g]);
    largest_min = __builtin_elementwise_max(largest_min, mins[g]);
  }
  q2_groups best = {0}, k = {.d = rounded_to_half(largest_scale / 15), .dmin = rounded_to_half(largest_min / 15)};
  float least = INFINITY;
  for (int round = 0; round <= LIMN_IMPROVEMENTS; round++) {
    v_q2_choose(x, line.scale, -line.offset, &k);
    const float error = sum_of_lanes(k.error);
    if (error < least || round == 0) {
      least = error;
      best = k;
    }
    v_q2_fit(x, &k);
  }
  const v16f min = v_splat(best.dmin) * best.min, inverse = v_inverse_of(v_splat(best.d) * best.scale);
  for (int i = 0; i < 16; i++) x[i] = v_code_of((x[i] + min) * inverse, 0, 3);
  v16i codes[1][16];
  v_store_groups(x, 16, codes);
  q2_k *block = (q2_k *)to;
  store_half(block->d, best.d);
  store_half(block->dmin, best.dmin);
  v_store_low_bytes(
    block->scales, __builtin_convertvector(best.scale, v16i) | __builtin_convertvector(best.min, v16i) << 4);
  v_store_pairs_of_bits(codes[0], block->q);
  return least;
}

// MARK: Rows

#define ROWS(name, elements, bytes, batch)                                                                   \
  LIMN_INLINE double name##_body(const float *values, ptrdiff_t columns, void *row) {                        \
    uint8_t *block = row;                                                                                    \
    double error = 0;                                                                                        \
    for (ptrdiff_t k = 0; k < columns; k += batch * elements, block += batch * bytes) {                      \
      const int count = columns - k < batch * elements ? (int)((columns - k) / elements) : batch;            \
      error += name##_blocks(values + k, block, count);                                                      \
    }                                                                                                        \
    return error;                                                                                            \
  }                                                                                                          \
  static double name##_scalar(const float *values, ptrdiff_t columns, void *row) {                           \
    return name##_body(values, columns, row);                                                                \
  }                                                                                                          \
  LIMN_VALUE_INSTANCES(double, name, (const float *values, ptrdiff_t columns, void *row), (values, columns, row))

ROWS(q2, LIMN_BLOCK, LIMN_Q2_K_BYTES, 1)
ROWS(q3, LIMN_BLOCK, LIMN_Q3_K_BYTES, 1)
ROWS(iq4_nl, 32, LIMN_IQ4_NL_BYTES, 16)
ROWS(iq4_xs, LIMN_BLOCK, LIMN_IQ4_XS_BYTES, 2)

limn_encode *limn_encoder_blocks_low(limn_isa isa, limn_type type) {
  switch (type) {
    case LIMN_Q2_K: return LIMN_PICK(isa, q2);
    case LIMN_Q3_K: return LIMN_PICK(isa, q3);
    case LIMN_IQ4_NL: return LIMN_PICK(isa, iq4_nl);
    case LIMN_IQ4_XS: return LIMN_PICK(isa, iq4_xs);
    default: return NULL;
  }
}
