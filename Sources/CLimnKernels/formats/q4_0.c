// Q4_0: blocks of 32 weights.
//
//   bytes  0–1   d, float16
//   bytes  2–17  q: byte i holds weight i (low nibble) and weight i + 16 (high)      weight = (q − 8) · d
#include "kernels.h"
#include "products/few_tokens_32.h"
#include "simd.h"

typedef struct {
  uint8_t d[2];
  uint8_t q[16];
} block;
_Static_assert(sizeof(block) == LIMN_Q4_0_BYTES, "Q4_0 block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int k = 0; k < columns; k += 32, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int i = 0; i < 16; i++) {
      values[k + i] = (float)((b->q[i] & 15) - 8) * d;
      values[k + 16 + i] = (float)((b->q[i] >> 4) - 8) * d;
    }
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
  w->offset = 8;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    for (int g = 0; g < columns / 32; g++, b++) {
      w->d[g][r] = float_from_half(load_u16(b->d));
      for (int i = 0; i < 16; i++) {
        w->q[g * 8 + i / 4][r][i % 4] = b->q[i] & 15;
        w->q[g * 8 + 4 + i / 4][r][i % 4] = b->q[i] >> 4;
      }
    }
  }
}

/// One group of every row at a time: 4 words, whose low nibbles are the first half of the group.
LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = 8;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int g = 0; g < columns / 32; g++) {
    const size_t at = g * sizeof(block);
    v_store(w->d[g], v_load_halves(row, at + offsetof(block, d)));
    v16i q[4];
    v_load_words(row, at + offsetof(block, q), q);
    LIMN_UNROLL (int k = 0; k < 4; k++) {
      v_store_bytes(w->q[g * 8 + k], q[k] & 0x0f0f0f0f);
      v_store_bytes(w->q[g * 8 + 4 + k], q[k] >> 4 & 0x0f0f0f0f);
    }
  }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
// MARK: Few tokens

LIMN_TARGET_VNNI LIMN_INLINE __m512i load_pair(const uint8_t *at, __m512i table, int32_t d[2]) {
  (void)table;
  const block *b = (const block *)at;
  d[0] = load_u16(b[0].d);
  d[1] = load_u16(b[1].d);
  return two_nibbles(b[0].q, b[1].q);
}
LIMN_TARGET_VNNI static void multiply_one_vnni(const limn_few_job *j) {
  multiply_one_32(j, 2 * sizeof(block), 8, _mm512_setzero_si512(), LIMN_SCALE_HALF, 1, load_pair);
}

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const uint8_t *at, int g, __m256i table) {
  (void)table;
  return nibbles_avx2(((const block *)at)[g].q);
}
LIMN_SCALES_OF_BLOCKS(load_u16)
LIMN_FEW_32_AVX2(
  multiply_few_avx2, 1, _mm256_setzero_si256(), .bytes = 8 * sizeof(block), .offset = 8, .largest_q = 15,
  .kind = LIMN_SCALE_HALF, .part = part_avx2, .scales = scales_of)
#endif

int limn_recipe_q4_0(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_32(recipe, isa, 15);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, multiply_one_vnni);
#endif
  return limn_products_of_32(recipe, isa, arithmetic, 15, 0);
}
