// Encoders of the formats with super-blocks of 256: Q4_K, Q5_K, Q6_K. Drawn in formats/.
//
// Q5_K is Q4_K with 32 bytes for the fifth bits between scales and nibbles: bit g of byte j belongs to weight j of
// group g.
//
// The scale (and minimum) of each group is fitted by itself and rounded to the 6 or 8 bits that the super-block has for
// it. Since 6 bits are coarse, the neighbouring scales are tried as well, each with the minimum that fits it best.
// Finally the super-block's d (and dmin) are fitted to the codes.
#include "encode.h"

typedef struct {
  uint8_t d[2], dmin[2], scales[12], q[128];
} q4_k;
typedef struct {
  uint8_t d[2], dmin[2], scales[12], fifth[32], q[128];
} q5_k;
typedef struct {
  uint8_t low[128], high[64];
  int8_t scales[16];
  uint8_t d[2];
} q6_k;
_Static_assert(sizeof(q4_k) == LIMN_Q4_K_BYTES && sizeof(q5_k) == LIMN_Q5_K_BYTES, "Q4_K and Q5_K blocks");
_Static_assert(sizeof(q6_k) == LIMN_Q6_K_BYTES, "Q6_K block");

enum { GROUPS = 8 };  // groups of 32 in a super-block of Q4_K or Q5_K

LIMN_INLINE void store_half(uint8_t *p, float x) {
  const uint16_t half = half_from_float(x);
  memcpy(p, &half, 2);
}

// MARK: Scales of Q4_K and Q5_K: weight = d · scale · q − dmin · minimum

/// The scales and minimums of a super-block.
typedef struct {
  float d, dmin;                     // rounded to float16
  float scale[GROUPS], min[GROUPS];  // integers up to 63
} k_scales;

/// Rounds scales and minimums (neither below 0) to six bits.
LIMN_INLINE k_scales rounded_scales(const float *scale, const float *min) {
  float largest_scale = 0, largest_min = 0;
  for (int g = 0; g < GROUPS; g++) {
    largest_scale = __builtin_elementwise_max(largest_scale, scale[g]);
    largest_min = __builtin_elementwise_max(largest_min, min[g]);
  }
  k_scales k;
  k.d = rounded_to_half(largest_scale / 63);
  k.dmin = rounded_to_half(largest_min / 63);
  for (int g = 0; g < GROUPS; g++) {
    k.scale[g] = code_of(scale[g] * inverse_of(k.d), 0, 63);
    k.min[g] = code_of(min[g] * inverse_of(k.dmin), 0, 63);
  }
  return k;
}

/// Σ (x − x̂)² of a group of 32.
LIMN_INLINE float group_error(const float *x, int top, float scale, float min, float inverse) {
  float error = 0;
  for (int i = 0; i < 32; i++) {
    const float code = code_of((x[i] + min) * inverse, 0, (float)top), miss = x[i] - (scale * code - min);
    error = __builtin_elementwise_fma(miss, miss, error);
  }
  return error;
}

/// Moves a group's scale by up to one step, together with its minimum, if that makes the error smaller.
LIMN_INLINE void refine_group(const float *x, int top, k_scales *k, int g) {
  const float given = k->scale[g], min = k->dmin * k->min[g];
  float best = group_error(x, top, k->d * given, min, inverse_of(k->d * given));
  float sum = 0;
  for (int i = 0; i < 32; i++) sum += x[i];
  for (int step = -1; step <= 1; step++) {
    const float code = code_of(given + (float)step, 0, 63), scale = k->d * code, inverse = inverse_of(scale);
    float q1 = 0;
    for (int i = 0; i < 32; i++) q1 += code_of((x[i] + min) * inverse, 0, (float)top);
    const float min_code = code_of((scale * q1 - sum) * inverse_of(32 * k->dmin), 0, 63);
    const float error = group_error(x, top, scale, k->dmin * min_code, inverse);
    if (error < best) {
      best = error;
      k->scale[g] = code;
      k->min[g] = min_code;
    }
  }
}

/// The d and dmin that fit the codes best: least squares of x = d · (scale · q) − dmin · min over the super-block, from
/// each group's Σ q, Σ q², Σ x·q and Σ x.
LIMN_INLINE k_scales fitted_scales(k_scales k, const float *q1, const float *qq, const float *xq, const float *sum) {
  float uu = 0, uv = 0, vv = 0, xu = 0, xv = 0;
  for (int g = 0; g < GROUPS; g++) {
    uu += k.scale[g] * k.scale[g] * qq[g];
    uv += k.scale[g] * k.min[g] * q1[g];
    vv += k.min[g] * k.min[g] * 32;
    xu += k.scale[g] * xq[g];
    xv += k.min[g] * sum[g];
  }
  const float determinant = uu * vv - uv * uv;
  float d = (xu * vv - uv * xv) / determinant, dmin = (xu * uv - uu * xv) / determinant;
  if (!(determinant > 1e-6f * uu * vv && d > 0 && dmin > 0)) {
    d = uu > 0 && vv == 0 ? xu / uu : k.d;
    dmin = k.dmin;
  }
  k.d = rounded_to_half(d);
  k.dmin = rounded_to_half(dmin);
  return k;
}

LIMN_INLINE void store_scales(const k_scales *k, uint8_t *scales) {
  for (int j = 0; j < 4; j++) {
    const int s = (int)k->scale[j], t = (int)k->scale[j + 4], m = (int)k->min[j], n = (int)k->min[j + 4];
    scales[j] = (uint8_t)(s | t >> 4 << 6);
    scales[4 + j] = (uint8_t)(m | n >> 4 << 6);
    scales[8 + j] = (uint8_t)((t & 15) | (n & 15) << 4);
  }
}

// MARK: Q4_K (top = 15) and Q5_K (top = 31), one super-block at a time

/// Computes the codes of a super-block; returns Σ (x − x̂)².
LIMN_INLINE float k_codes(const float *x, const k_scales *k, int top, uint8_t *q) {
  float error = 0;
  for (int g = 0; g < GROUPS; g++) {
    const float scale = k->d * k->scale[g], min = k->dmin * k->min[g], inverse = inverse_of(scale);
    float part = 0;
    for (int i = 0; i < 32; i++) {
      const float value = x[g * 32 + i], code = code_of((value + min) * inverse, 0, (float)top);
      const float miss = value - (scale * code - min);
      part = __builtin_elementwise_fma(miss, miss, part);
      q[g * 32 + i] = (uint8_t)code;
    }
    error += part;
  }
  return error;
}

LIMN_INLINE double k_block(const float *x, uint8_t *block, int top) {
  float scale[GROUPS], min[GROUPS], q1[GROUPS] = {0}, qq[GROUPS] = {0}, xq[GROUPS] = {0}, sum[GROUPS] = {0};
  for (int g = 0; g < GROUPS; g++) {
    const limn_line line = fit_line(x + g * 32, 32, top, 0);
    scale[g] = line.scale;
    min[g] = -line.offset;
  }
  uint8_t codes[2][LIMN_BLOCK], *q = codes[0];
  k_scales k = rounded_scales(scale, min);
  for (int g = 0; g < GROUPS; g++) refine_group(x + g * 32, top, &k, g);
  float error = k_codes(x, &k, top, q);
  for (int g = 0; g < GROUPS; g++) {
    for (int i = g * 32; i < g * 32 + 32; i++) {
      q1[g] += (float)q[i];
      qq[g] = __builtin_elementwise_fma((float)q[i], (float)q[i], qq[g]);
      xq[g] = __builtin_elementwise_fma(x[i], (float)q[i], xq[g]);
      sum[g] += x[i];
    }
  }
  const k_scales fitted = fitted_scales(k, q1, qq, xq, sum);
  const float fitted_error = k_codes(x, &fitted, top, codes[1]);
  if (fitted_error < error) {
    k = fitted;
    error = fitted_error;
    q = codes[1];
  }
  q4_k *b = (q4_k *)block;
  store_half(b->d, k.d);
  store_half(b->dmin, k.dmin);
  store_scales(&k, b->scales);
  uint8_t *nibbles = top == 15 ? b->q : ((q5_k *)block)->q;
  for (int i = 0; i < 128; i++)
    nibbles[i] = (uint8_t)((q[i / 32 * 64 + i % 32] & 15) | q[i / 32 * 64 + 32 + i % 32] << 4);
  for (int j = 0; j < 32 && top == 31; j++) {
    uint8_t bits = 0;
    for (int g = 0; g < GROUPS; g++) bits |= (uint8_t)(q[g * 32 + j] >> 4 << g);
    ((q5_k *)block)->fifth[j] = bits;
  }
  return error;
}

// MARK: Two super-blocks at once: the lanes are their 16 groups

/// d · scale, or dmin · min, of the group in each lane.
LIMN_INLINE v16f v_spread(const k_scales *k, int is_min) {
  float lanes[16];
  for (int g = 0; g < 16; g++) {
    const k_scales *of = k + g / GROUPS;
    lanes[g] = is_min ? of->dmin * of->min[g % GROUPS] : of->d * of->scale[g % GROUPS];
  }
  return v_load(lanes);
}

LIMN_INLINE v16f v_group_error(const v16f *x, int top, v16f scale, v16f min, v16f inverse) {
  v16f error = {};
  for (int i = 0; i < 32; i++) {
    const v16f code = v_code_of((x[i] + min) * inverse, 0, (float)top), miss = x[i] - (scale * code - min);
    error = v_fma(miss, miss, error);
  }
  return error;
}

/// `refine_group` for both super-blocks.
LIMN_INLINE void v_refine_groups(const v16f *x, int top, v16f sum, k_scales *k) {
  float lanes[4][16];
  for (int g = 0; g < 16; g++) {
    const k_scales *of = k + g / GROUPS;
    lanes[0][g] = of->d;
    lanes[1][g] = of->dmin;
    lanes[2][g] = of->scale[g % GROUPS];
    lanes[3][g] = of->min[g % GROUPS];
  }
  const v16f d = v_load(lanes[0]), dmin = v_load(lanes[1]), given = v_load(lanes[2]);
  const v16f min = dmin * v_load(lanes[3]), per_code = v_inverse_of(v_splat(32) * dmin);
  v16f best_scale = given, best_min = v_load(lanes[3]);
  v16f best = v_group_error(x, top, d * given, min, v_inverse_of(d * given));
  for (int step = -1; step <= 1; step++) {
    const v16f code = v_code_of(given + v_splat((float)step), 0, 63), scale = d * code, inverse = v_inverse_of(scale);
    v16f q1 = {};
    for (int i = 0; i < 32; i++) q1 += v_code_of((x[i] + min) * inverse, 0, (float)top);
    const v16f min_code = v_code_of((scale * q1 - sum) * per_code, 0, 63);
    const v16f error = v_group_error(x, top, scale, dmin * min_code, inverse);
    const v16i better = error < best;
    best = v_select(better, error, best);
    best_scale = v_select(better, code, best_scale);
    best_min = v_select(better, min_code, best_min);
  }
  v_store(lanes[2], best_scale);
  v_store(lanes[3], best_min);
  for (int g = 0; g < 16; g++) {
    k[g / GROUPS].scale[g % GROUPS] = lanes[2][g];
    k[g / GROUPS].min[g % GROUPS] = lanes[3][g];
  }
}

LIMN_INLINE void v_k_codes(const v16f *x, const k_scales *k, int top, v16f *q, float *errors) {
  const v16f scale = v_spread(k, 0), min = v_spread(k, 1), inverse = v_inverse_of(scale);
  v16f error = {};
  for (int i = 0; i < 32; i++) {
    const v16f code = v_code_of((x[i] + min) * inverse, 0, (float)top), miss = x[i] - (scale * code - min);
    error = v_fma(miss, miss, error);
    q[i] = code;
  }
  float lanes[16];
  v_store(lanes, error);
  for (int b = 0; b < 2; b++) {
    errors[b] = 0;
    for (int g = 0; g < GROUPS; g++) errors[b] += lanes[b * GROUPS + g];
  }
}

LIMN_INLINE double v_k_blocks(const float *values, uint8_t *blocks, int count, int top) {
  v16f x[32], q[32], q1 = {}, qq = {}, xq = {}, sum = {};
  v_load_groups(values, 32, x);
  const limn_v_line line = v_fit_line(x, 32, top, 0);
  float scale[16], min[16], sums[4][16], errors[2], fitted_errors[2];
  v_store(scale, line.scale);
  v_store(min, -line.offset);
  k_scales k[2] = {rounded_scales(scale, min), rounded_scales(scale + GROUPS, min + GROUPS)};
  for (int i = 0; i < 32; i++) sum += x[i];
  v_refine_groups(x, top, sum, k);
  v_k_codes(x, k, top, q, errors);
  for (int i = 0; i < 32; i++) {
    q1 += q[i];
    qq = v_fma(q[i], q[i], qq);
    xq = v_fma(x[i], q[i], xq);
  }
  v_store(sums[0], q1);
  v_store(sums[1], qq);
  v_store(sums[2], xq);
  v_store(sums[3], sum);
  k_scales fitted[2];
  for (int b = 0; b < 2; b++)
    fitted[b] = fitted_scales(
      k[b], sums[0] + b * GROUPS, sums[1] + b * GROUPS, sums[2] + b * GROUPS, sums[3] + b * GROUPS);
  v_k_codes(x, fitted, top, q, fitted_errors);
  int is_better = 0;
  for (int b = 0; b < 2; b++) {
    if (!(fitted_errors[b] < errors[b])) continue;
    is_better |= 1 << b;
    k[b] = fitted[b];
    errors[b] = fitted_errors[b];
  }
  if (is_better != 3) v_k_codes(x, k, top, q, fitted_errors);

  v16i codes[2][16];
  v_store_groups(q, 32, codes);
  const size_t bytes = top == 15 ? sizeof(q4_k) : sizeof(q5_k);
  double total = 0;
  for (int b = 0; b < count; b++) {
    q4_k *block = (q4_k *)(blocks + (size_t)b * bytes);
    store_half(block->d, k[b].d);
    store_half(block->dmin, k[b].dmin);
    store_scales(k + b, block->scales);
    for (int half = 0; half < 2; half++) {
      const v16i *of = codes[half] + b * GROUPS;
      uint8_t *nibbles = top == 15 ? block->q : ((q5_k *)block)->q;
      for (int run = 0; run < 4; run++)
        v_store_low_bytes(nibbles + run * 32 + half * 16, (of[run * 2] & 15) | of[run * 2 + 1] << 4);
      if (top == 15) continue;
      v16i bits = {};
      LIMN_UNROLL (int g = 0; g < GROUPS; g++) bits |= of[g] >> 4 << g;
      v_store_low_bytes(((q5_k *)block)->fifth + half * 16, bits);
    }
    total += errors[b];
  }
  return total;
}

// MARK: Q6_K: weight = d · scale · q, 16 groups of 16, codes −32 … 31, scales −128 … 127

typedef struct {
  float d, scale[16];
} q6_scales;

/// Rounds scales to 8 bits; the largest becomes −128.
LIMN_INLINE q6_scales q6_rounded_scales(const float *scale) {
  float largest = 0;
  for (int g = 0; g < 16; g++)
    if (fabsf(scale[g]) > fabsf(largest)) largest = scale[g];
  q6_scales k = {.d = rounded_to_half(largest / -128)};
  for (int g = 0; g < 16; g++) k.scale[g] = code_of(scale[g] * inverse_of(k.d), -128, 127);
  return k;
}

/// The d that fits the codes best, from each group's Σ q² and Σ x·q.
LIMN_INLINE q6_scales q6_fitted_scales(q6_scales k, const float *qq, const float *xq) {
  float uu = 0, xu = 0;
  for (int g = 0; g < 16; g++) {
    uu += k.scale[g] * k.scale[g] * qq[g];
    xu += k.scale[g] * xq[g];
  }
  k.d = rounded_to_half(xu * inverse_of(uu));
  return k;
}

LIMN_INLINE void q6_store_scales(const q6_scales *k, q6_k *block) {
  store_half(block->d, k->d);
  for (int g = 0; g < 16; g++) block->scales[g] = (int8_t)k->scale[g];
}

LIMN_INLINE float q6_codes(const float *x, const q6_scales *k, uint8_t *q) {
  float error = 0;
  for (int g = 0; g < 16; g++) {
    const float scale = k->d * k->scale[g], inverse = inverse_of(scale);
    float part = 0;
    for (int i = g * 16; i < g * 16 + 16; i++) {
      const float code = code_of(x[i] * inverse, -32, 31), miss = x[i] - scale * code;
      part = __builtin_elementwise_fma(miss, miss, part);
      q[i] = (uint8_t)((int)code + 32);
    }
    error += part;
  }
  return error;
}

LIMN_INLINE double q6_block(const float *x, uint8_t *to) {
  float scale[16], qq[16] = {0}, xq[16] = {0};
  for (int g = 0; g < 16; g++) scale[g] = fit_scale(x + g * 16, 16, 32);
  uint8_t codes[2][LIMN_BLOCK], *q = codes[0];
  q6_scales k = q6_rounded_scales(scale);
  float error = q6_codes(x, &k, q);
  for (int i = 0; i < LIMN_BLOCK; i++) {
    const float code = (float)q[i] - 32;
    qq[i / 16] = __builtin_elementwise_fma(code, code, qq[i / 16]);
    xq[i / 16] = __builtin_elementwise_fma(x[i], code, xq[i / 16]);
  }
  const q6_scales fitted = q6_fitted_scales(k, qq, xq);
  const float fitted_error = q6_codes(x, &fitted, codes[1]);
  if (fitted_error < error) {
    k = fitted;
    error = fitted_error;
    q = codes[1];
  }
  q6_k *block = (q6_k *)to;
  q6_store_scales(&k, block);
  for (int run = 0; run < 2; run++) {
    const uint8_t *of = q + run * 128;
    for (int i = 0; i < 64; i++) block->low[run * 64 + i] = (uint8_t)((of[i] & 15) | of[i + 64] << 4);
    for (int i = 0; i < 32; i++) {
      const int low = of[i] >> 4 | of[i + 32] >> 4 << 2, high = of[i + 64] >> 4 | of[i + 96] >> 4 << 2;
      block->high[run * 32 + i] = (uint8_t)(low | high << 4);
    }
  }
  return error;
}

LIMN_INLINE float v_q6_codes(const v16f *x, const q6_scales *k, v16f *q) {
  const v16f scale = v_splat(k->d) * v_load(k->scale), inverse = v_inverse_of(scale);
  v16f error = {};
  for (int i = 0; i < 16; i++) {
    q[i] = v_code_of(x[i] * inverse, -32, 31);
    const v16f miss = x[i] - scale * q[i];
    error = v_fma(miss, miss, error);
  }
  float lanes[16], sum = 0;
  v_store(lanes, error);
  for (int g = 0; g < 16; g++) sum += lanes[g];
  return sum;
}

LIMN_INLINE double v_q6_block(const float *values, uint8_t *to) {
  v16f x[16], q[16], qq = {}, xq = {};
  v_load_groups(values, 16, x);
  float scale[16], squares[16], products[16];
  v_store(scale, v_fit_scale(x, 16, 32));
  q6_scales k = q6_rounded_scales(scale);
  float error = v_q6_codes(x, &k, q);
  for (int i = 0; i < 16; i++) {
    qq = v_fma(q[i], q[i], qq);
    xq = v_fma(x[i], q[i], xq);
  }
  v_store(squares, qq);
  v_store(products, xq);
  const q6_scales fitted = q6_fitted_scales(k, squares, products);
  const float fitted_error = v_q6_codes(x, &fitted, q);
  if (fitted_error < error) {
    k = fitted;
    error = fitted_error;
  } else {
    v_q6_codes(x, &k, q);
  }
  v16i codes[1][16];
  for (int i = 0; i < 16; i++) q[i] += v_splat(32);
  v_store_groups(q, 16, codes);
  q6_k *block = (q6_k *)to;
  q6_store_scales(&k, block);
  LIMN_UNROLL (int run = 0; run < 2; run++) {
    const v16i *of = codes[0] + run * 8;
    LIMN_UNROLL (int g = 0; g < 4; g++)
      v_store_low_bytes(block->low + run * 64 + g * 16, (of[g] & 15) | of[g + 4] << 4);
    LIMN_UNROLL (int g = 0; g < 2; g++)
      v_store_low_bytes(
        block->high + run * 32 + g * 16, of[g] >> 4 | of[g + 2] >> 4 << 2 | of[g + 4] >> 4 << 4 | of[g + 6] >> 4 << 6);
  }
  return error;
}

// MARK: Rows

#define ROWS(name, bytes, batch, one, many)                                               \
  static double name##_scalar(const float *values, ptrdiff_t columns, void *row) {        \
    uint8_t *block = row;                                                                 \
    double error = 0;                                                                     \
    for (ptrdiff_t k = 0; k < columns; k += LIMN_BLOCK, block += bytes) error += one;     \
    return error;                                                                         \
  }                                                                                       \
  LIMN_INLINE double name##_body(const float *values, ptrdiff_t columns, void *row) {     \
    uint8_t *block = row;                                                                 \
    double error = 0;                                                                     \
    for (ptrdiff_t k = 0; k < columns; k += batch * LIMN_BLOCK, block += batch * bytes) { \
      const int count = columns - k < batch * LIMN_BLOCK ? 1 : batch;                     \
      (void)count;                                                                        \
      error += many;                                                                      \
    }                                                                                     \
    return error;                                                                         \
  }                                                                                       \
  LIMN_VALUE_INSTANCES(double, name, (const float *values, ptrdiff_t columns, void *row), (values, columns, row))

ROWS(q4_k, sizeof(q4_k), 2, k_block(values + k, block, 15), v_k_blocks(values + k, block, count, 15))
ROWS(q5_k, sizeof(q5_k), 2, k_block(values + k, block, 31), v_k_blocks(values + k, block, count, 31))
ROWS(q6_k, sizeof(q6_k), 1, q6_block(values + k, block), v_q6_block(values + k, block))

limn_encode *limn_encoder_blocks_k(limn_isa isa, limn_type type) {
  switch (type) {
    case LIMN_Q4_K: return LIMN_PICK(isa, q4_k);
    case LIMN_Q5_K: return LIMN_PICK(isa, q5_k);
    case LIMN_Q6_K: return LIMN_PICK(isa, q6_k);
    default: return NULL;
  }
}
