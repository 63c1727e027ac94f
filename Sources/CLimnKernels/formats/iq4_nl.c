// IQ4_NL: blocks of 32 weights, each one of 16 values, which are denser around zero.
//
//   bytes  0–1   d, float16
//   bytes  2–17  numbers: byte i holds that of weight i (low nibble) and of weight i + 16 (high)
//
//   weight = d · table[number]
#include "lookup.h"
#include "products/few_tokens_32.h"

typedef struct {
  uint8_t d[2];
  uint8_t q[16];
} block;
_Static_assert(sizeof(block) == LIMN_IQ4_NL_BYTES, "IQ4_NL block");

const int8_t limn_table_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

LIMN_INLINE int value_of(const block *b, int k) { return limn_table_iq4[b->q[k % 16] >> k / 16 * 4 & 15]; }

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += 32, b++) {
    const float d = float_from_half(load_u16(b->d));
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
      w->d[g][r] = float_from_half(load_u16(b->d));
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
    v_store(w->d[g], v_load_halves(row, at + offsetof(block, d)));
    v16i words[4];
    v_load_words(row, at + offsetof(block, q), words);
    v_store_lookups(words, limn_table_iq4, lookup, w->q + g * 8);
  }
}
LIMN_LOOKUP_INSTANCES

#if defined(__x86_64__)
// MARK: Few tokens

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const uint8_t *at, int g, __m256i table) {
  return _mm256_shuffle_epi8(table, nibbles_avx2(((const block *)at)[g].q));
}
LIMN_SCALES_OF_BLOCKS(load_u16)
LIMN_FEW_32_AVX2(
  multiply_few_avx2, 1, table_avx2(limn_table_iq4), .bytes = 8 * sizeof(block), .largest_q = 127, .is_signed = 1,
  .kind = LIMN_SCALE_HALF, .part = part_avx2, .scales = scales_of)
#endif

int limn_recipe_iq4_nl(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
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
