// Q3_K: super-blocks of 256 weights in 16 groups of 16, each group with a 6-bit scale.
//
//   bytes    0–31   high bits of q
//   bytes   32–95   low 2 bits of q
//   bytes   96–107  scales
//   bytes  108–109  d, float16
//
//   weight = (d · (scale − 32)) · (q − 4)
//
//   The high bits of all weights share 32 bytes; the low bits are two runs of 128 weights, i = 0–1; k = 0–31:
//
//                  bit  7   6   5   4   3   2   1   0
//                     ┌───┬───┬───┬───┬───┬───┬───┬───┐
//   byte k            │224│192│160│128│ 96│ 64│ 32│ 0 │  + k: the weight
//                     ├───┴───┼───┴───┼───┴───┼───┴───┤
//   byte 32 + 32i + k │ k + 96│ k + 64│ k + 32│   k   │  weight of the run
//                     └───────┴───────┴───────┴───────┘
//
//   The 12 bytes of scales hold 16 scales s of 6 bits; the digits 5 to 0 are their bits, g = 0–7, j = 0–3:
//
//                  bit  7   6   5   4   3   2   1   0
//                     ┌───────────────┬───────────────┐
//   byte  96 + g      │     s g+8     │      s g      │
//                     │ 3   2   1   0 │ 3   2   1   0 │
//                     ├───────┬───────┼───────┬───────┤
//   byte 104 + j      │ s j+12│ s j+8 │ s j+4 │  s j  │
//                     │ 5   4 │ 5   4 │ 5   4 │ 5   4 │
//                     └───────┴───────┴───────┴───────┘
#include "kernels.h"
#include "products/few_tokens.h"
#include "simd.h"

typedef struct {
  uint8_t high[32];
  uint8_t low[64];
  uint8_t scales[12];
  uint8_t d[2];
} block;
_Static_assert(sizeof(block) == LIMN_Q3_K_BYTES, "Q3_K block");

LIMN_INLINE int q_of(const block *b, int k) {
  return (b->low[k / 128 * 32 + k % 32] >> k % 128 / 32 * 2 & 3) | (b->high[k % 32] >> k / 32 & 1) << 2;
}
LIMN_INLINE int scale_of(const block *b, int group) {
  const int low = b->scales[group % 8] >> group / 8 * 4 & 15, high = b->scales[8 + group % 4] >> group / 4 * 2 & 3;
  return (low | high << 4) - 32;
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int g = 0; g < 16; g++) {
      const float scale = d * (float)scale_of(b, g);
      for (int i = 0; i < 16; i++) values[start + g * 16 + i] = scale * (float)(q_of(b, g * 16 + i) - 4);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

/// The offset of 4 is written as a minimum: scale · (q − 4) = scale · q − 4 · scale.
static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    w->d[r] = w->dmin[r] = float_from_half(load_u16(b->d));
    for (int g = 0; g < 16; g++) {
      w->scale[g][r] = scale_of(b, g);
      w->min[g / 2][r][g % 2] = (int16_t)(4 * scale_of(b, g));
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

  // Reads the block's last 16 bytes: the end of `low`, the scales, and d. Reading 16 bytes from the scales on would
  // leave the block.
  v16i tail[4], words[3];
  v_load_words(row, sizeof(block) - 16, tail);
  LIMN_UNROLL (int i = 0; i < 3; i++) words[i] = (tail[i] >> 16 & 0xffff) | tail[i + 1] << 16;
  const v16f d = v_float_from_half(tail[3] >> 16 & 0xffff);
  v_store(w->d, d);
  v_store(w->dmin, d);
  LIMN_UNROLL (int g = 0; g < 16; g += 4) {
    const v16i four = (words[g / 4 % 2] >> g / 8 * 4 & 0x0f0f0f0f) | (words[2] >> g / 4 * 2 & 0x03030303) << 4;
    LIMN_UNROLL (int i = 0; i < 4; i += 2) {
      const v16i even = (four >> i * 8 & 63) - 32, odd = (four >> (i + 1) * 8 & 63) - 32;
      v_store_bytes(w->scale[g + i], even);
      v_store_bytes(w->scale[g + i + 1], odd);
      v_store_bytes(w->min[(g + i) / 2], (even << 2 & 0xffff) | odd << 18);
    }
  }

  v16i low[16], high[8];  // words 0–7 of `low` are the first run, words 8–15 the second
  LIMN_UNROLL (int r = 0; r < 16; r++) low[r] = v_load_bytes(row[r] + offsetof(block, low));
  v_transpose(low);
  v_load_words(row, offsetof(block, high), high);
  v_load_words(row, offsetof(block, high) + 16, high + 4);
  LIMN_UNROLL (int i = 0; i < 16; i++)
    LIMN_UNROLL (int quarter = 0; quarter < 4; quarter++) {
      const v16i top = (high[i % 8] >> (i / 8 * 4 + quarter) & 0x01010101) << 2;
      v_store_bytes(w->q[i / 8 * 32 + quarter * 8 + i % 8], (low[i] >> quarter * 2 & 0x03030303) | top);
    }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
// MARK: Few tokens, AVX2: a register is two groups

LIMN_TARGET_AVX2 LIMN_INLINE limn_head_k head_avx2(const void *at) {
  const block *b = at;
  const uint32_t s0 = load_u32(b->scales), s1 = load_u32(b->scales + 4), s2 = load_u32(b->scales + 8);
  const uint32_t low4 = 0x0f0f0f0f, high2 = 0x30303030;
  const __m128i scales = _mm_sub_epi8(
    _mm_setr_epi32(
      (int)((s0 & low4) | (s2 << 4 & high2)), (int)((s1 & low4) | (s2 << 2 & high2)),
      (int)((s0 >> 4 & low4) | (s2 & high2)), (int)((s1 >> 4 & low4) | (s2 >> 2 & high2))),
    _mm_set1_epi8(32));
  const uint32_t d = load_u16(b->d);
  const __m256i mins = _mm256_slli_epi16(_mm256_cvtepi8_epi16(scales), 2);  // 4 · scale
  return (limn_head_k){twice_avx2(even_odd_avx2(scales)), mins, d | d << 16};
}
LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const void *at, const int i) {
  const block *b = at;
  const __m256i low = _mm256_loadu_si256((const __m256i *)(b->low + i / 4 * 32));
  const __m256i high = _mm256_loadu_si256((const __m256i *)b->high);
  // Moves bit i of each byte to bit 2.
  const __m256i bit = i < 2 ? _mm256_slli_epi16(high, i < 2 ? 2 - i : 0) : _mm256_srli_epi16(high, i < 2 ? 0 : i - 2);
  return _mm256_or_si256(
    _mm256_and_si256(_mm256_srli_epi16(low, i % 4 * 2), _mm256_set1_epi8(3)),
    _mm256_and_si256(bit, _mm256_set1_epi8(4)));
}
LIMN_FEW_K_AVX2(multiply_few_avx2, 3, .bytes = sizeof(block), .head = head_avx2, .part = part_avx2)
#endif

int limn_recipe_q3_k(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, 16, 7);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, NULL);
#endif
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, 16, 7);
  return arithmetic == LIMN_INT8;
}
