// Q8_0: blocks of 32 weights.
//
//   bytes  0–1   d, float16
//   bytes  2–33  q, 32 signed bytes                      weight = q · d
#include "kernels.h"
#include "products/few_tokens_32.h"
#include "simd.h"

typedef struct {
  uint8_t d[2];
  int8_t q[32];
} block;
_Static_assert(sizeof(block) == LIMN_Q8_0_BYTES, "Q8_0 block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int k = 0; k < columns; k += 32, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int i = 0; i < 32; i++) values[k + i] = (float)b->q[i] * d;
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

/// A panel's bytes are unsigned: q + 128.
static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = 128;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    for (int g = 0; g < columns / 32; g++, b++) {
      w->d[g][r] = float_from_half(load_u16(b->d));
      for (int k = 0; k < 32; k++) w->q[g * 8 + k / 4][r][k % 4] = (uint8_t)(b->q[k] + 128);
    }
  }
}

/// Two groups at a time: 8 words of each fill a vector.
LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = 128;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int g = 0; g < columns / 32; g += 2) {
    // The last group of an odd number is read twice; its copy goes where no product reads.
    const size_t first = g * sizeof(block), second = (g + 1 < columns / 32 ? g + 1 : g) * sizeof(block);
    v_store(w->d[g], v_load_halves(row, first + offsetof(block, d)));
    v_store(w->d[g + 1], v_load_halves(row, second + offsetof(block, d)));
    v16i q[16];
    LIMN_UNROLL (int r = 0; r < 16; r++)
      q[r] = v_join(row[r] + first + offsetof(block, q), row[r] + second + offsetof(block, q)) ^ (int32_t)0x80808080;
    v_transpose(q);
    LIMN_UNROLL (int i = 0; i < 16; i++) v_store_bytes(w->q[g * 8 + i], q[i]);
  }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
// MARK: Few tokens

LIMN_TARGET_VNNI LIMN_INLINE __m512i load_pair(const uint8_t *at, __m512i table, int32_t d[2]) {
  const block *b = (const block *)at;
  d[0] = load_u16(b[0].d);
  d[1] = load_u16(b[1].d);
  const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)b[0].q));
  return _mm512_xor_si512(_mm512_inserti64x4(low, _mm256_loadu_si256((const __m256i *)b[1].q), 1), table);
}
LIMN_TARGET_VNNI static void multiply_one_vnni(const limn_few_job *j) {
  multiply_one_32(j, 2 * sizeof(block), 128, _mm512_set1_epi8((char)0x80), LIMN_SCALE_HALF, 1, load_pair);
}

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const uint8_t *at, int g, __m256i table) {
  (void)table;
  return _mm256_loadu_si256((const __m256i *)((const block *)at)[g].q);
}
LIMN_SCALES_OF_BLOCKS(load_u16)
LIMN_FEW_32_AVX2(
  multiply_few_avx2, 4, _mm256_setzero_si256(), .bytes = 8 * sizeof(block), .largest_q = 128, .is_signed = 1,
  .kind = LIMN_SCALE_HALF, .part = part_avx2, .scales = scales_of)
#endif

int limn_recipe_q8_0(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_32(recipe, isa, 255);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, multiply_one_vnni);
#endif
  if (arithmetic == LIMN_INT16) return limn_products_int16_of_32(recipe, isa);
  return arithmetic == LIMN_INT8;
}
