// Q5_K: super-blocks of 256 weights in 8 groups of 32, each group with a 6-bit scale and a 6-bit minimum.
//
//   bytes   0–1    d, float16
//   bytes   2–3    dmin, float16
//   bytes   4–15   scales and minimums
//   bytes  16–47   high bits of q
//   bytes  48–175  low 4 bits of q
//
//   weight = (d · scale) · q − (dmin · minimum)
//
//   The 12 bytes of scales hold 8 scales s and 8 minimums m of 6 bits; the digits 5 to 0 are their bits, j = 0–3:
//
//                  bit  7   6   5   4   3   2   1   0
//                     ┌───────┬───────────────────────┐
//   byte  4 + j       │ s j+4 │          s j          │
//                     │ 5   4 │ 5   4   3   2   1   0 │
//                     ├───────┼───────────────────────┤
//   byte  8 + j       │ m j+4 │          m j          │
//                     │ 5   4 │ 5   4   3   2   1   0 │
//                     ├───────┴───────┬───────────────┤
//   byte 12 + j       │     m j+4     │     s j+4     │
//                     │ 3   2   1   0 │ 3   2   1   0 │
//                     └───────────────┴───────────────┘
//
//   Bit g of byte 16 + k is the high bit of weight k = 0–31 of group g. The low bits are 4 runs of 32 bytes, i = 0–3,
//   each for two groups:
//
//                  bit  7   6   5   4   3   2   1   0
//                     ┌───┬───┬───┬───┬───┬───┬───┬───┐
//   byte 16 + k       │ 7 │ 6 │ 5 │ 4 │ 3 │ 2 │ 1 │ 0 │  group
//                     ├───┴───┴───┴───┼───┴───┴───┴───┤
//   byte 48 + 32i + k │ group 2i + 1  │   group 2i    │
//                     └───────────────┴───────────────┘
#include "kernels.h"
#include "products/few_tokens.h"
#include "scales_k.h"
#include "simd.h"

typedef struct {
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t high[32];
  uint8_t low[128];
} block;
_Static_assert(sizeof(block) == LIMN_Q5_K_BYTES, "Q5_K block");

LIMN_INLINE int q_of(const block *b, int k) {
  const int g = k / 32, i = k % 32;
  return (b->low[g / 2 * 32 + i] >> g % 2 * 4 & 15) | (b->high[i] >> g & 1) << 4;
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d)), dmin = float_from_half(load_u16(b->dmin));
    for (int g = 0; g < 8; g++) {
      const float scale = d * (float)scale_of(b->scales, g), min = dmin * (float)min_of(b->scales, g);
      for (int i = 0; i < 32; i++) values[start + g * 32 + i] = scale * (float)q_of(b, g * 32 + i) - min;
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
    for (int g = 0; g < 8; g++) {
      w->scale[g][r] = scale_of(b->scales, g);
      w->min[g / 2][r][g % 2] = (int16_t)min_of(b->scales, g);
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

  v16i head[4];  // the word of d and dmin, then the three words of scales
  v_load_words(row, 0, head);
  v_store(w->d, v_float_from_half(head[0] & 0xffff));
  v_store(w->dmin, v_float_from_half(head[0] >> 16 & 0xffff));
  v_store_scales(head + 1, w);

  v16i high[8];
  v_load_words(row, offsetof(block, high), high);
  v_load_words(row, offsetof(block, high) + 16, high + 4);
  LIMN_UNROLL (int part = 0; part < 2; part++) {
    v16i low[16];  // two runs of 8 words
    LIMN_UNROLL (int r = 0; r < 16; r++) low[r] = v_load_bytes(row[r] + offsetof(block, low) + part * 64);
    v_transpose(low);
    LIMN_UNROLL (int i = 0; i < 16; i++) {
      const int run = part * 2 + i / 8;
      const v16i top = high[i % 8] >> run * 2;
      v_store_bytes(w->q[run * 16 + i % 8], (low[i] & 0x0f0f0f0f) | (top << 4 & 0x10101010));
      v_store_bytes(w->q[run * 16 + 8 + i % 8], (low[i] >> 4 & 0x0f0f0f0f) | (top << 3 & 0x10101010));
    }
  }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
// MARK: Few tokens, AVX2: a register is a group

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const void *at, const int i) {
  const block *b = at;
  const __m256i low = _mm256_loadu_si256((const __m256i *)(b->low + i / 2 * 32));
  const __m256i high = _mm256_loadu_si256((const __m256i *)b->high);
  // Moves bit i of each byte to bit 4; what is shifted in from a neighbouring byte is masked away.
  const __m256i bit = i < 4 ? _mm256_slli_epi16(high, i < 4 ? 4 - i : 0) : _mm256_srli_epi16(high, i < 4 ? 0 : i - 4);
  return _mm256_or_si256(
    _mm256_and_si256(i % 2 ? _mm256_srli_epi16(low, 4) : low, _mm256_set1_epi8(15)),
    _mm256_and_si256(bit, _mm256_set1_epi8(16)));
}
LIMN_FEW_K_AVX2(multiply_few_avx2, 3, .bytes = sizeof(block), .head = head_of_scales_avx2, .part = part_avx2)
#endif

int limn_recipe_q5_k(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, 32, 31);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, NULL);
#endif
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, 32, 31);
  return arithmetic == LIMN_INT8;
}
