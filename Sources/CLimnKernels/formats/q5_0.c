// Q5_0: blocks of 32 weights.
//
//   bytes  0–1   d, float16
//   bytes  2–5   high bits of q: bit i of the 32: weight i
//   bytes  6–21  low 4 bits of q: byte i holds weight i (low nibble) and weight i + 16 (high)
//
//   weight = (q − 16) · d
#include "high_bits.h"
#include "kernels.h"
#include "products/few_tokens_32.h"
#include "simd.h"

typedef struct {
  uint8_t d[2];
  uint8_t high[4];
  uint8_t low[16];
} block;
_Static_assert(sizeof(block) == LIMN_Q5_0_BYTES, "Q5_0 block");

/// The number of weight k, from its byte of low bits and the word of high bits.
LIMN_INLINE int q_of(uint8_t low, uint32_t high, int k) { return (low >> k / 16 * 4 & 15) | (int)(high >> k & 1) << 4; }

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += 32, b++) {
    const float d = float_from_half(load_u16(b->d));
    const uint32_t high = load_u32(b->high);
    for (int half = 0; half < 2; half++)
      for (int i = 0; i < 16; i++)
        values[start + half * 16 + i] = (float)(q_of(b->low[i], high, half * 16 + i) - 16) * d;
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = 16;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    for (int g = 0; g < columns / 32; g++, b++) {
      w->d[g][r] = float_from_half(load_u16(b->d));
      for (int k = 0; k < 32; k++) w->q[g * 8 + k / 4][r][k % 4] = (uint8_t)q_of(b->low[k % 16], load_u32(b->high), k);
    }
  }
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = 16;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int g = 0; g < columns / 32; g++) {
    const size_t at = g * sizeof(block);
    v_store(w->d[g], v_load_halves(row, at + offsetof(block, d)));
    v_store_five_bits(row, at + offsetof(block, high), at + offsetof(block, low), w->q + g * 8);
  }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
// MARK: Few tokens

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const uint8_t *at, int g, __m256i table) {
  (void)table;
  const block *b = (const block *)at + g;
  return _mm256_or_si256(nibbles_avx2(b->low), fifth_bits_avx2(load_u32(b->high)));
}
LIMN_SCALES_OF_BLOCKS(load_u16)
LIMN_FEW_32_AVX2(
  multiply_few_avx2, 1, _mm256_setzero_si256(), .bytes = 8 * sizeof(block), .offset = 16, .largest_q = 31,
  .kind = LIMN_SCALE_HALF, .part = part_avx2, .scales = scales_of)
#endif

int limn_recipe_q5_0(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_32(recipe, isa, 31);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, NULL);
#endif
  return limn_products_of_32(recipe, isa, arithmetic, 31, 0);
}
