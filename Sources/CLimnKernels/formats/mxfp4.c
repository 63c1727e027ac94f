// MXFP4: blocks of 32 weights of 4 bits (a sign, 2 bits of exponent, 1 of fraction) with a power of two as scale.
//
//   byte   0     e
//   bytes  1–16  numbers: byte i holds that of weight i (low nibble) and of weight i + 16 (high)
//
//   weight = 2^(e − 128) · table[number], the table being twice what the 4 bits say
#include "lookup.h"
#include "products/few_tokens_32.h"

typedef struct {
  uint8_t e;
  uint8_t q[16];
} block;
_Static_assert(sizeof(block) == LIMN_MXFP4_BYTES, "MXFP4 block");

enum { LARGEST = 12 };
static const int8_t table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// 2^(e − 128). The two smallest are denormal.
LIMN_INLINE float scale_of(const block *b) {
  return float_from_bits(b->e < 2 ? 0x00200000u << b->e : (uint32_t)(b->e - 1) << 23);
}
LIMN_INLINE int value_of(const block *b, int k) { return table[b->q[k % 16] >> k / 16 * 4 & 15]; }

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += 32, b++) {
    const float d = scale_of(b);
    for (int i = 0; i < 32; i++) values[start + i] = d * (float)value_of(b, i);
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

static void unpack_scalar LIMN_UNPACK_PARAMETERS {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = LOOKUP_OFFSET;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    for (int g = 0; g < columns / 32; g++, b++) {
      w->d[g][r] = scale_of(b);
      for (int k = 0; k < 32; k++) w->q[g * 8 + k / 4][r][k % 4] = (uint8_t)(value_of(b, k) + LOOKUP_OFFSET);
    }
  }
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel,
  v_lookup *lookup) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = LOOKUP_OFFSET;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int g = 0; g < columns / 32; g++) {
    const size_t at = g * sizeof(block);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) w->d[g][r] = scale_of((const block *)(row[r] + at));
    v16i words[4];
    v_load_words(row, at + offsetof(block, q), words);
    v_store_lookups(words, table, lookup, w->q + g * 8);
  }
}
LIMN_LOOKUP_INSTANCES

#if defined(__x86_64__)
// MARK: Few tokens

/// Without signs: the table plus LARGEST holds numbers from 0 to 24.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const uint8_t *at, int g, __m256i table) {
  return _mm256_shuffle_epi8(table, nibbles_avx2(((const block *)at)[g].q));
}
LIMN_INLINE void scales_of(const uint8_t *at, int groups, int32_t *d) {
  LIMN_UNROLL (int g = 0; g < 8; g++)
    if (g < groups) d[g] = (int32_t)bits_from_float(scale_of((const block *)at + g));
}
LIMN_FEW_32_AVX2(
  multiply_few_avx2, 3, _mm256_add_epi8(table_avx2(table), _mm256_set1_epi8(LARGEST)), .bytes = 8 * sizeof(block),
  .offset = LARGEST, .largest_q = 2 * LARGEST, .kind = LIMN_SCALE_FLOAT, .step = 1, .part = part_avx2,
  .scales = scales_of)
#endif

int limn_recipe_mxfp4(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
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
