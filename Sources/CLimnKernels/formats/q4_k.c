// Q4_K: super-blocks of 256 weights in 8 groups of 32, each group with a 6-bit scale and a 6-bit minimum.
//
//   bytes   0–1    d, float16
//   bytes   2–3    dmin, float16
//   bytes   4–15   scales and minimums
//   bytes  16–143  q
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
//   q is 4 runs of 32 bytes, i = 0–3, each for two groups; k = 0–31 is the weight in its group:
//
//                  bit  7   6   5   4   3   2   1   0
//                     ┌───────────────┬───────────────┐
//   byte 16 + 32i + k │ group 2i + 1  │   group 2i    │
//                     └───────────────┴───────────────┘
#include "kernels.h"
#include "products/few_tokens.h"
#include "products/avx2.h"
#include "scales_k.h"
#include "simd.h"

typedef struct {
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t q[128];
} block;
_Static_assert(sizeof(block) == LIMN_Q4_K_BYTES, "Q4_K block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d)), dmin = float_from_half(load_u16(b->dmin));
    for (int g = 0; g < 8; g++) {
      const float scale = d * (float)scale_of(b->scales, g), min = dmin * (float)min_of(b->scales, g);
      const uint8_t *q = b->q + g / 2 * 32;
      float *out = values + start + g * 32;
      for (int i = 0; i < 32; i++) out[i] = scale * (float)(q[i] >> g % 2 * 4 & 15) - min;
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
    for (int k = 0; k < LIMN_BLOCK; k++) w->q[k / 4][r][k % 4] = b->q[k / 64 * 32 + k % 32] >> k / 32 % 2 * 4 & 15;
  }
}

LIMN_INLINE void unpack_scales(const uint8_t *const row[LIMN_PANEL_ROWS], limn_panel_k *w) {
  v16i head[4];  // the word of d and dmin, then the three words of scales
  v_load_words(row, 0, head);
  v_store(w->d, v_float_from_half(head[0] & 0xffff));
  v_store(w->dmin, v_float_from_half(head[0] >> 16 & 0xffff));
  v_store_scales(head + 1, w);
}

/// All 16 rows at a time: after transposing, a vector holds the same four bytes of every row.
LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  unpack_scales(row, w);
  for (int part = 0; part < 2; part++) {
    v16i q[16];
    LIMN_UNROLL (int r = 0; r < 16; r++) q[r] = v_load_bytes(row[r] + offsetof(block, q) + part * 64);
    v_transpose(q);
    LIMN_UNROLL (int i = 0; i < 16; i++) {
      const int k = part * 32 + i / 8 * 16 + i % 8;
      v_store_bytes(w->q[k], q[i] & 0x0f0f0f0f);
      v_store_bytes(w->q[k + 8], q[i] >> 4 & 0x0f0f0f0f);
    }
  }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
/// The same, eight rows at a time.
LIMN_TARGET_AVX2 static void unpack_eights_avx2(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  unpack_scales(row, w);
  const __m256i nibble = _mm256_set1_epi8(15);
  for (int r = 0; r < LIMN_PANEL_ROWS; r += 8)
    for (int run = 0; run < 4; run++) {
      __m256i q[8];
      limn_words_avx2(row + r, offsetof(block, q) + (size_t)run * 32, q);
      LIMN_UNROLL (int i = 0; i < 8; i++) {
        limn_store_avx2(w->q[run * 16 + i][r], _mm256_and_si256(q[i], nibble));
        limn_store_avx2(w->q[run * 16 + 8 + i][r], _mm256_and_si256(_mm256_srli_epi16(q[i], 4), nibble));
      }
    }
}

// MARK: One token, AVX-512 VNNI
//
// A load of 64 bytes holds groups 4i and 4i + 2 in its low nibbles, 4i + 1 and 4i + 3 in its high ones; the activations
// are rearranged to match. A lane sums four products q · x, at most 7,620, which fits 16 bits, so one instruction
// multiplies by the scale and accumulates.

LIMN_TARGET_VNNI static void multiply_one_vnni(const limn_few_job *j) {
  const limn_x_k *x = j->x;
  const size_t row_bytes = j->row_bytes;
  const ptrdiff_t blocks = j->columns / LIMN_BLOCK;
  __m512i *xq = j->scratch;  // [block][4]
  for (ptrdiff_t b = 0; b < blocks; b++)
    for (int half = 0; half < 2; half++) {
      const __m512i even = _mm512_loadu_si512(x[b].q + half * 128), odd = _mm512_loadu_si512(x[b].q + half * 128 + 64);
      xq[b * 4 + half * 2] = _mm512_shuffle_i64x2(even, odd, 0x44);
      xq[b * 4 + half * 2 + 1] = _mm512_shuffle_i64x2(even, odd, 0xee);
    }
  const limn_sums_k sums = sums_k(xq + blocks * 4, j->columns);
  // Shuffles that move scale i to the low byte of the lanes of group i, and zero the other bytes.
  __m512i spread[4];
  LIMN_UNROLL (int i = 0; i < 4; i++) {
    const int group = i / 2 * 4 + i % 2;
    spread[i] = _mm512_inserti64x4(
      _mm512_set1_epi32((int)0x80808000 | group), _mm256_set1_epi32((int)0x80808000 | (group + 2)), 1);
  }
  const __m512i nibble = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();

  limn_ahead ahead = ahead_of(j->weight);
  for (ptrdiff_t first = 0; first < j->rows; first += 16) {
    const int count = j->rows - first < 16 ? (int)(j->rows - first) : 16;
    ahead_until(&ahead, (const char *)j->weight + (size_t)(first + count) * row_bytes);
    for (int r = 0; r < count; r++) {
      const block *b = (const block *)((const char *)j->weight + (size_t)(first + r) * row_bytes);
      for (ptrdiff_t start = 0; start < blocks; start += 16) {
        _Alignas(64) __m512i total[16] = {0};
        _Alignas(64) __m128i low[16] = {0};
        const int part = blocks - start < 16 ? (int)(blocks - start) : 16;
        for (int i = 0; i < part; i++, b++) {
          fetch_lines(&ahead, sizeof(block) / 64);
          const limn_scales_k s = load_scales(b->scales);
          sums.d[r * sums.wide + start + i] = (int32_t)load_u32(b->d);
          low[i] = _mm_madd_epi16(
            _mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)s.mins)),
            _mm_loadu_si128((const __m128i *)x[start + i].sums));

          const __m512i all = _mm512_set1_epi64((long long)s.scales);
          __m512i sum[2] = {zero, zero};
          LIMN_UNROLL (int half = 0; half < 2; half++) {
            const __m512i q = _mm512_loadu_si512(b->q + half * 64);
            const __m512i parts[2] = {_mm512_and_si512(q, nibble), _mm512_and_si512(_mm512_srli_epi16(q, 4), nibble)};
            LIMN_UNROLL (int k = 0; k < 2; k++)
              sum[k] = _mm512_dpwssd_epi32(
                sum[k], _mm512_dpbusd_epi32(zero, parts[k], xq[(start + i) * 4 + half * 2 + k]),
                _mm512_shuffle_epi8(all, spread[half * 2 + k]));
          }
          total[i] = _mm512_add_epi32(sum[0], sum[1]);
        }
        _mm512_storeu_si512(sums.total + r * sums.wide + start, sum_lanes(total));
        _mm512_storeu_si512(sums.low + r * sums.wide + start, sum_quarters((const __m512i *)low));
      }
    }
    finish_k(&sums, x, blocks, count, j->y + first, &ahead);
  }
}

// MARK: Few tokens, AVX2: a register is a group

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const void *at, const int i) {
  const block *b = at;
  const __m256i q = _mm256_loadu_si256((const __m256i *)(b->q + i / 2 * 32));
  return _mm256_and_si256(i % 2 ? _mm256_srli_epi16(q, 4) : q, _mm256_set1_epi8(15));
}
LIMN_FEW_K_AVX2(multiply_few_avx2, 3, .bytes = sizeof(block), .head = head_of_scales_avx2, .part = part_avx2)
#endif

int limn_recipe_q4_k(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, 32, 15);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  if (isa == LIMN_AVX2) recipe->unpack = unpack_eights_avx2;
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, multiply_one_vnni);
#endif
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, 32, 15);
  return arithmetic == LIMN_INT8;
}
