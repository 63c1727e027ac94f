// Encoders of the formats with blocks of 32: Q8_0, Q4_0, Q5_0, Q5_1.
//
//   Q8_0  d, 32 signed bytes                      weight = d · q
//   Q4_0  d, 16 bytes of nibbles                  weight = d · (q − 8)
//   Q5_0  d, the 32 fifth bits, nibbles           weight = d · (q − 16)
//   Q5_1  d, m, the 32 fifth bits, nibbles        weight = d · q + m
//
// d and m are float16. Byte j of the nibbles holds weight j (low) and weight j + 16 (high); bit j of the fifth bits
// belongs to weight j. Vectors do 16 blocks at once.
#include "encode.h"

LIMN_INLINE void store_half(uint8_t *p, float x) {
  const uint16_t half = half_from_float(x);
  memcpy(p, &half, 2);
}

// MARK: Blocks, one at a time

/// Q8_0 as other programs write it: the largest magnitude becomes 127, and halves are rounded away from zero.
LIMN_INLINE double q8_0_block(const float *x, uint8_t *block) {
  float largest = 0;
  for (int i = 0; i < 32; i++) largest = __builtin_elementwise_max(largest, fabsf(x[i]));
  const float d = largest / 127, inverse = inverse_of(d), stored = rounded_to_half(d);
  store_half(block, d);
  float error = 0;
  for (int i = 0; i < 32; i++) {
    const float scaled = x[i] * inverse, q = copysignf(truncf(fabsf(scaled) + 0.5f), scaled);
    block[2 + i] = (uint8_t)(int8_t)q;
    const float miss = x[i] - stored * q;
    error = __builtin_elementwise_fma(miss, miss, error);
  }
  return error;
}

/// Packs 32 codes of up to 5 bits; `fifth` is NULL for codes of 4 bits.
LIMN_INLINE void pack(const uint8_t *q, uint8_t *fifth, uint8_t *nibbles) {
  for (int j = 0; j < 16; j++) nibbles[j] = (uint8_t)((q[j] & 15) | q[j + 16] << 4);
  if (!fifth) return;
  uint32_t bits = 0;
  for (int i = 0; i < 32; i++) bits |= (uint32_t)(q[i] >> 4) << i;
  memcpy(fifth, &bits, 4);
}

/// Q4_0 (n = 8) or Q5_0 (n = 16).
LIMN_INLINE double symmetric_block(const float *x, uint8_t *block, int n) {
  const float d = rounded_to_half(fit_scale(x, 32, n)), inverse = inverse_of(d);
  float error = 0;
  uint8_t q[32];
  for (int i = 0; i < 32; i++) {
    const float code = code_of(x[i] * inverse, (float)-n, (float)(n - 1)), miss = x[i] - d * code;
    error = __builtin_elementwise_fma(miss, miss, error);
    q[i] = (uint8_t)((int)code + n);
  }
  store_half(block, d);
  if (n == 8)
    pack(q, NULL, block + 2);
  else
    pack(q, block + 2, block + 6);
  return error;
}

LIMN_INLINE double q5_1_block(const float *x, uint8_t *block) {
  const limn_line line = fit_line(x, 32, 31, INFINITY);
  const float d = rounded_to_half(line.scale), m = rounded_to_half(line.offset), inverse = inverse_of(d);
  float error = 0;
  uint8_t q[32];
  for (int i = 0; i < 32; i++) {
    const float code = code_of((x[i] - m) * inverse, 0, 31), miss = x[i] - (d * code + m);
    error = __builtin_elementwise_fma(miss, miss, error);
    q[i] = (uint8_t)code;
  }
  store_half(block, d);
  store_half(block + 2, m);
  pack(q, block + 4, block + 8);
  return error;
}

// MARK: 16 blocks at once

LIMN_INLINE v16f v_rounded_to_half(v16f x) { return __builtin_convertvector(__builtin_convertvector(x, v16h), v16f); }

/// Writes d, as float16, to 16 blocks, and returns it as rounded.
LIMN_INLINE v16f v_store_scales(v16f d, uint8_t *blocks, size_t block_bytes, int count) {
  uint16_t halves[16];
  v_store_half(halves, d);
  for (int b = 0; b < count; b++) memcpy(blocks + (size_t)b * block_bytes, halves + b, 2);
  return v_rounded_to_half(d);
}

LIMN_INLINE double v_total(v16f error, int count) {
  float lanes[16];
  v_store(lanes, error);
  double sum = 0;
  for (int b = 0; b < count; b++) sum += lanes[b];
  return sum;
}

LIMN_INLINE double v_q8_0_blocks(const float *values, uint8_t *blocks, int count) {
  v16f x[32], largest = {}, error = {};
  v_load_groups(values, 32, x);
  for (int i = 0; i < 32; i++) largest = v_max(largest, v_abs(x[i]));
  const v16f d = largest / v_splat(127), inverse = v_inverse_of(d);
  const v16f stored = v_store_scales(d, blocks, LIMN_Q8_0_BYTES, count);
  for (int i = 0; i < 32; i++) {
    const v16f scaled = x[i] * inverse;
    const v16f q = __builtin_elementwise_copysign(__builtin_elementwise_trunc(v_abs(scaled) + 0.5f), scaled);
    const v16f miss = x[i] - stored * q;
    error = v_fma(miss, miss, error);
    x[i] = q;
  }
  v16i codes[2][16];
  v_store_groups(x, 32, codes);
  for (int b = 0; b < count; b++) {
    v_store_low_bytes(blocks + b * LIMN_Q8_0_BYTES + 2, codes[0][b]);
    v_store_low_bytes(blocks + b * LIMN_Q8_0_BYTES + 18, codes[1][b]);
  }
  return v_total(error, count);
}

/// Packs the codes of 16 blocks; x[i] holds code i of each.
LIMN_INLINE void v_pack(const v16f *x, uint8_t *blocks, size_t block_bytes, int count, int fifth, int nibbles) {
  const v16i place = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  v16i codes[2][16];
  v_store_groups(x, 32, codes);
  for (int b = 0; b < count; b++) {
    uint8_t *block = blocks + (size_t)b * block_bytes;
    v_store_low_bytes(block + nibbles, (codes[0][b] & 15) | codes[1][b] << 4);
    if (!fifth) continue;
    const uint32_t low = (uint32_t)v_sum_int(codes[0][b] >> 4 << place);
    const uint32_t bits = low | (uint32_t)v_sum_int(codes[1][b] >> 4 << place) << 16;
    memcpy(block + fifth, &bits, 4);
  }
}

LIMN_INLINE double v_symmetric_blocks(const float *values, uint8_t *blocks, int count, int n) {
  const size_t bytes = n == 8 ? LIMN_Q4_0_BYTES : LIMN_Q5_0_BYTES;
  v16f x[32], error = {};
  v_load_groups(values, 32, x);
  const v16f d = v_store_scales(v_fit_scale(x, 32, n), blocks, bytes, count), inverse = v_inverse_of(d);
  for (int i = 0; i < 32; i++) {
    const v16f code = v_code_of(x[i] * inverse, (float)-n, (float)(n - 1)), miss = x[i] - d * code;
    error = v_fma(miss, miss, error);
    x[i] = code + v_splat((float)n);
  }
  v_pack(x, blocks, bytes, count, n == 8 ? 0 : 2, n == 8 ? 2 : 6);
  return v_total(error, count);
}

LIMN_INLINE double v_q5_1_blocks(const float *values, uint8_t *blocks, int count) {
  v16f x[32], error = {};
  v_load_groups(values, 32, x);
  const limn_v_line line = v_fit_line(x, 32, 31, INFINITY);
  const v16f d = v_store_scales(line.scale, blocks, LIMN_Q5_1_BYTES, count), inverse = v_inverse_of(d);
  const v16f m = v_store_scales(line.offset, blocks + 2, LIMN_Q5_1_BYTES, count);
  for (int i = 0; i < 32; i++) {
    const v16f code = v_code_of((x[i] - m) * inverse, 0, 31), miss = x[i] - (d * code + m);
    error = v_fma(miss, miss, error);
    x[i] = code;
  }
  v_pack(x, blocks, LIMN_Q5_1_BYTES, count, 4, 8);
  return v_total(error, count);
}

// MARK: Rows

#define ROWS(name, bytes, one, many)                                                            \
  static double name##_scalar(const float *values, ptrdiff_t columns, void *row) {              \
    uint8_t *block = row;                                                                       \
    double error = 0;                                                                           \
    for (ptrdiff_t k = 0; k < columns; k += 32, block += bytes) error += one;                   \
    return error;                                                                               \
  }                                                                                             \
  LIMN_INLINE double name##_body(const float *values, ptrdiff_t columns, void *row) {           \
    uint8_t *block = row;                                                                       \
    double error = 0;                                                                           \
    for (ptrdiff_t k = 0; k < columns; k += LIMN_ENCODE_BATCH, block += LIMN_LANES * bytes) {   \
      const int count = columns - k < LIMN_ENCODE_BATCH ? (int)(columns - k) / 32 : LIMN_LANES; \
      error += many;                                                                            \
    }                                                                                           \
    return error;                                                                               \
  }                                                                                             \
  LIMN_VALUE_INSTANCES(double, name, (const float *values, ptrdiff_t columns, void *row), (values, columns, row))

ROWS(q8_0, LIMN_Q8_0_BYTES, q8_0_block(values + k, block), v_q8_0_blocks(values + k, block, count))
ROWS(q4_0, LIMN_Q4_0_BYTES, symmetric_block(values + k, block, 8), v_symmetric_blocks(values + k, block, count, 8))
ROWS(q5_0, LIMN_Q5_0_BYTES, symmetric_block(values + k, block, 16), v_symmetric_blocks(values + k, block, count, 16))
ROWS(q5_1, LIMN_Q5_1_BYTES, q5_1_block(values + k, block), v_q5_1_blocks(values + k, block, count))

limn_encode *limn_encoder_blocks_32(limn_isa isa, limn_type type) {
  switch (type) {
    case LIMN_Q8_0: return LIMN_PICK(isa, q8_0);
    case LIMN_Q4_0: return LIMN_PICK(isa, q4_0);
    case LIMN_Q5_0: return LIMN_PICK(isa, q5_0);
    case LIMN_Q5_1: return LIMN_PICK(isa, q5_1);
    default: return NULL;
  }
}
