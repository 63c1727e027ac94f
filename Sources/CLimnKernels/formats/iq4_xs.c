// IQ4_XS: super-blocks of 256 weights in 8 groups of 32 with 6-bit scales; the values of weights are those of IQ4_NL.
//
//   bytes   0–1    d, float16
//   bytes   2–3    bits 4–5 of the scales, group 0 lowest
//   bytes   4–7    bits 0–3: byte i, scale 2i (low nibble) and scale 2i + 1 (high)
//   bytes   8–135  16 bytes a group: byte i holds the number of weight i (low nibble) and of weight i + 16 (high)
//
//   weight = (d · (scale − 32)) · table[number]
#include "lookup.h"
#include "products/few_tokens_32.h"

typedef struct {
  uint8_t d[2];
  uint8_t scales_high[2];
  uint8_t scales_low[4];
  uint8_t q[8][16];
} block;
_Static_assert(sizeof(block) == LIMN_IQ4_XS_BYTES, "IQ4_XS block");

LIMN_INLINE float scale_of(const block *b, int group) {
  const int low = b->scales_low[group / 2] >> group % 2 * 4 & 15, high = load_u16(b->scales_high) >> group * 2 & 3;
  return float_from_half(load_u16(b->d)) * (float)((low | high << 4) - 32);
}
LIMN_INLINE int value_of(const block *b, int group, int k) {
  return limn_table_iq4[b->q[group][k % 16] >> k / 16 * 4 & 15];
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++)
    for (int g = 0; g < 8; g++) {
      const float scale = scale_of(b, g);
      for (int i = 0; i < 32; i++) values[start + g * 32 + i] = scale * (float)value_of(b, g, i);
    }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

static void unpack_scalar LIMN_UNPACK_PARAMETERS {
  (void)recipe, (void)columns;
  limn_panel_32 *w = panel;
  w->offset = LOOKUP_OFFSET;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    for (int g = 0; g < 8; g++) {
      w->d[g][r] = scale_of(b, g);
      for (int k = 0; k < 32; k++) w->q[g * 8 + k / 4][r][k % 4] = (uint8_t)(value_of(b, g, k) + LOOKUP_OFFSET);
    }
  }
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel,
  v_lookup *lookup) {
  (void)recipe, (void)columns;
  limn_panel_32 *w = panel;
  w->offset = LOOKUP_OFFSET;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);

  v16i head[4];  // four words: d and the scales' high bits; their low bits; two of q
  v_load_words(row, 0, head);
  const v16f d = v_float_from_half(head[0] & 0xffff);
  LIMN_UNROLL (int g = 0; g < 8; g++) {
    const v16i scale = (head[1] >> g * 4 & 15) | (head[0] >> (16 + g * 2) & 3) << 4;
    v_store(w->d[g], d * __builtin_convertvector(scale - 32, v16f));
  }
  for (int part = 0; part < 2; part++) {
    v16i words[16];  // four groups of 4 words
    LIMN_UNROLL (int r = 0; r < 16; r++) words[r] = v_load_bytes(row[r] + offsetof(block, q) + part * 64);
    v_transpose(words);
    LIMN_UNROLL (int g = 0; g < 4; g++)
      v_store_lookups(words + g * 4, limn_table_iq4, lookup, w->q + part * 32 + g * 8);
  }
}
LIMN_LOOKUP_INSTANCES

#if defined(__x86_64__)
// MARK: Few tokens

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const uint8_t *at, int g, __m256i table) {
  return _mm256_shuffle_epi8(table, nibbles_avx2(((const block *)at)->q[g]));
}
/// scale_of for all eight groups.
LIMN_TARGET_AVX2 LIMN_INLINE void scales_of(const uint8_t *at, int groups, int32_t *d) {
  (void)groups;  // always 8: a row is whole blocks
  const block *b = (const block *)at;
  const __m256i fours = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), twos = _mm256_srli_epi32(fours, 1);
  const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32((int)load_u32(b->scales_low)), fours);
  const __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(load_u16(b->scales_high)), twos);
  const __m256i scale = _mm256_or_si256(
    _mm256_and_si256(low, _mm256_set1_epi32(15)), _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
  const __m256 signed_scale = _mm256_cvtepi32_ps(_mm256_sub_epi32(scale, _mm256_set1_epi32(32)));
  _mm256_storeu_ps((float *)d, _mm256_mul_ps(_mm256_set1_ps(_cvtsh_ss(load_u16(b->d))), signed_scale));
}
LIMN_FEW_32_AVX2(
  multiply_few_avx2, 3, table_avx2(limn_table_iq4), .bytes = sizeof(block), .largest_q = 127, .is_signed = 1,
  .kind = LIMN_SCALE_FLOAT, .step = 1, .part = part_avx2, .scales = scales_of)
#endif

int limn_recipe_iq4_xs(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_32(recipe, isa, 255);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, NULL);
#endif
  if (arithmetic == LIMN_INT16) return limn_products_int16_of_32(recipe, isa);
  return arithmetic == LIMN_INT8;
}
