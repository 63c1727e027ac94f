// Q2_K: super-blocks of 256 weights in 16 groups of 16, each group with a 4-bit scale and a 4-bit minimum.
//
//   bytes   0–15  scales and minimums
//   bytes  16–79  q
//   bytes  80–81  d, float16
//   bytes  82–83  dmin, float16
//
//   weight = (d · scale) · q − (dmin · minimum)
//
//   Group g = 0–15; q is two runs of 128 weights, i = 0–1; k = 0–31:
//
//                  bit  7   6   5   4   3   2   1   0
//                     ┌───────────────┬───────────────┐
//   byte g            │   minimum g   │    scale g    │
//                     ├───────┬───────┼───────┬───────┤
//   byte 16 + 32i + k │ k + 96│ k + 64│ k + 32│   k   │  weight of the run
//                     └───────┴───────┴───────┴───────┘
#include "kernels.h"
#include "products/few_tokens.h"
#include "simd.h"

typedef struct {
  uint8_t scales[16];
  uint8_t q[64];
  uint8_t d[2];
  uint8_t dmin[2];
} block;
_Static_assert(sizeof(block) == LIMN_Q2_K_BYTES, "Q2_K block");

LIMN_INLINE int q_of(const block *b, int k) { return b->q[k / 128 * 32 + k % 32] >> k % 128 / 32 * 2 & 3; }

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d)), dmin = float_from_half(load_u16(b->dmin));
    for (int g = 0; g < 16; g++) {
      const float scale = d * (float)(b->scales[g] & 15), min = dmin * (float)(b->scales[g] >> 4);
      for (int i = 0; i < 16; i++) values[start + g * 16 + i] = scale * (float)q_of(b, g * 16 + i) - min;
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    w->d[r] = float_from_half(load_u16(b->d));
    w->dmin[r] = float_from_half(load_u16(b->dmin));
    for (int g = 0; g < 16; g++) {
      w->scale[g][r] = b->scales[g] & 15;
      w->min[g / 2][r][g % 2] = b->scales[g] >> 4;
    }
    for (int k = 0; k < LIMN_BLOCK; k++) w->q[k / 4][r][k % 4] = (uint8_t)q_of(b, k);
  }
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  v_store(w->d, v_load_halves(row, offsetof(block, d)));
  v_store(w->dmin, v_load_halves(row, offsetof(block, dmin)));

  v16i scales[4];
  v_load_words(row, offsetof(block, scales), scales);
  LIMN_UNROLL (int g = 0; g < 16; g += 2) {
    const v16i pair = scales[g / 4] >> g % 4 * 8;
    v_store_bytes(w->scale[g], pair & 15);
    v_store_bytes(w->scale[g + 1], pair >> 8 & 15);
    v_store_bytes(w->min[g / 2], (pair >> 4 & 15) | (pair << 4 & 0xf0000));
  }

  v16i q[16];  // words 0–7 are the first run, words 8–15 the second
  LIMN_UNROLL (int r = 0; r < 16; r++) q[r] = v_load_bytes(row[r] + offsetof(block, q));
  v_transpose(q);
  LIMN_UNROLL (int i = 0; i < 16; i++)
    LIMN_UNROLL (int quarter = 0; quarter < 4; quarter++)
      v_store_bytes(w->q[i / 8 * 32 + quarter * 8 + i % 8], q[i] >> quarter * 2 & 0x03030303);
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
// MARK: Few tokens, AVX2: a register is two groups

LIMN_TARGET_AVX2 LIMN_INLINE limn_head_k head_avx2(const void *at) {
  const block *b = at;
  const __m128i both = _mm_loadu_si128((const __m128i *)b->scales), nibble = _mm_set1_epi8(15);
  const __m256i mins = _mm256_cvtepi8_epi16(_mm_and_si128(_mm_srli_epi16(both, 4), nibble));
  return (limn_head_k){twice_avx2(even_odd_avx2(_mm_and_si128(both, nibble))), mins, load_u32(b->d)};
}
LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const void *at, const int i) {
  const block *b = at;
  const __m256i q = _mm256_loadu_si256((const __m256i *)(b->q + i / 4 * 32));
  return _mm256_and_si256(_mm256_srli_epi16(q, i % 4 * 2), _mm256_set1_epi8(3));
}
LIMN_FEW_K_AVX2(multiply_few_avx2, 3, .bytes = sizeof(block), .head = head_avx2, .part = part_avx2)
#endif

int limn_recipe_q2_k(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, 16, 3);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, NULL);
#endif
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, 16, 3);
  return arithmetic == LIMN_INT8;
}
