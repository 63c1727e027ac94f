// Q6_K: super-blocks of 256 weights in 16 groups of 16, each group with an 8-bit scale.
//
//   bytes    0–127  low 4 bits of q
//   bytes  128–191  high 2 bits of q
//   bytes  192–207  scales, 16 signed bytes
//   bytes  208–209  d, float16
//
//   weight = (d · scale) · (q − 32)
//
//   The weights are two runs of 128, i = 0–1; k = 0–31:
//
//                        bit  7   6   5   4   3   2   1   0
//                           ┌───────────────┬───────────────┐
//   byte       64i + k      │ weight k + 64 │   weight k    │  low bits
//                           ├───────────────┼───────────────┤
//   byte       64i + 32 + k │ weight k + 96 │ weight k + 32 │
//                           ├───────┬───────┼───────┬───────┤
//   byte 128 + 32i + k      │ k + 96│ k + 64│ k + 32│   k   │  high bits
//                           └───────┴───────┴───────┴───────┘
#include "kernels.h"
#include "products/few_tokens.h"
#include "products/avx2.h"
#include "simd.h"

typedef struct {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  uint8_t d[2];
} block;
_Static_assert(sizeof(block) == LIMN_Q6_K_BYTES, "Q6_K block");

LIMN_INLINE int q_of(const block *b, int k) {
  const int run = k / 128, i = k % 32, quarter = k % 128 / 32;
  const int low = b->low[run * 64 + quarter % 2 * 32 + i] >> quarter / 2 * 4 & 15;
  return low | (b->high[run * 32 + i] >> quarter * 2 & 3) << 4;
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int g = 0; g < 16; g++) {
      const float scale = d * (float)b->scales[g];
      for (int i = 0; i < 16; i++) values[start + g * 16 + i] = scale * (float)(q_of(b, g * 16 + i) - 32);
    }
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

/// The offset of 32 is written as a minimum: scale · (q − 32) = scale · q − 32 · scale.
static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    w->d[r] = w->dmin[r] = float_from_half(load_u16(b->d));
    for (int g = 0; g < 16; g++) {
      w->scale[g][r] = b->scales[g];
      w->min[g / 2][r][g % 2] = (int16_t)(32 * b->scales[g]);
    }
    for (int k = 0; k < LIMN_BLOCK; k++) w->q[k / 4][r][k % 4] = (uint8_t)q_of(b, k);
  }
}

LIMN_INLINE void unpack_scales(const uint8_t *const row[LIMN_PANEL_ROWS], limn_panel_k *w) {
  const v16f d = v_load_halves(row, offsetof(block, d));
  v_store(w->d, d);
  v_store(w->dmin, d);

  v16i scales[4];
  v_load_words(row, offsetof(block, scales), scales);
  LIMN_UNROLL (int g = 0; g < 16; g += 2) {
    const v16i even = scales[g / 4] << (24 - g % 4 * 8) >> 24, odd = scales[g / 4] << (16 - g % 4 * 8) >> 24;
    v_store_bytes(w->scale[g], even);
    v_store_bytes(w->scale[g + 1], odd);
    v_store_bytes(w->min[g / 2], (even << 5 & 0xffff) | odd << 21);
  }
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  unpack_scales(row, w);

  // The high bits of all 256 weights, moved to bits 4 and 5: words 0–7 are the first run, words 8–15 the second.
  v16i high[16];
  LIMN_UNROLL (int r = 0; r < 16; r++) high[r] = v_load_bytes(row[r] + offsetof(block, high));
  v_transpose(high);
  LIMN_UNROLL (int run = 0; run < 2; run++) {
    v16i low[16];
    LIMN_UNROLL (int r = 0; r < 16; r++) low[r] = v_load_bytes(row[r] + offsetof(block, low) + run * 64);
    v_transpose(low);
    LIMN_UNROLL (int i = 0; i < 8; i++) {
      const v16i top = high[run * 8 + i];
      uint8_t(*q)[LIMN_PANEL_ROWS][4] = w->q + run * 32 + i;
      v_store_bytes(q[0], (low[i] & 0x0f0f0f0f) | (top << 4 & 0x30303030));
      v_store_bytes(q[8], (low[i + 8] & 0x0f0f0f0f) | (top << 2 & 0x30303030));
      v_store_bytes(q[16], (low[i] >> 4 & 0x0f0f0f0f) | (top & 0x30303030));
      v_store_bytes(q[24], (low[i + 8] >> 4 & 0x0f0f0f0f) | (top >> 2 & 0x30303030));
    }
  }
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
/// Eight rows and half a run at a time.
LIMN_TARGET_AVX2 static void unpack_eights_avx2(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  unpack_scales(row, w);
  const __m256i nibble = _mm256_set1_epi8(15), two = _mm256_set1_epi8(0x30);
  for (int r = 0; r < LIMN_PANEL_ROWS; r += 8)
    for (int run = 0; run < 2; run++) {
      __m256i top[8];
      limn_words_avx2(row + r, offsetof(block, high) + (size_t)run * 32, top);
      // Shifts that bring the high bits to bits 4 and 5: up by 4 and 0 for the first half, up by 2 and down by 2 for
      // the second.
      for (int half = 0; half < 2; half++) {
        __m256i low[8];
        uint8_t(*q)[LIMN_PANEL_ROWS][4] = w->q + run * 32 + half * 8;
        limn_words_avx2(row + r, offsetof(block, low) + (size_t)run * 64 + (size_t)half * 32, low);
        LIMN_UNROLL (int i = 0; i < 8; i++) {
          const __m256i a = _mm256_slli_epi16(top[i], 4), b = _mm256_srli_epi16(low[i], 4);
          limn_store_avx2(q[i][r], _mm256_or_si256(_mm256_and_si256(low[i], nibble), _mm256_and_si256(a, two)));
          limn_store_avx2(q[i + 16][r], _mm256_or_si256(_mm256_and_si256(b, nibble), _mm256_and_si256(top[i], two)));
          top[i] = _mm256_srli_epi16(top[i], 2);
        }
      }
    }
}

// MARK: One token, AVX-512 VNNI
//
// A load of 64 bytes of `low` holds weights 128i to 128i + 63 in its low nibbles and the next 64 in its high ones,
// which is the order of the activations. A lane sums four products, at most 32,004, which fits 16 bits.

LIMN_TARGET_VNNI static void multiply_one_vnni(const limn_few_job *j) {
  const limn_x_k *x = j->x;
  const size_t row_bytes = j->row_bytes;
  const ptrdiff_t blocks = j->columns / LIMN_BLOCK;
  const limn_sums_k sums = sums_k(j->scratch, j->columns);
  // Permutations that move four 16-bit scales to the lower halves of four lanes each.
  __m512i spread[4];
  LIMN_UNROLL (int i = 0; i < 4; i++)
    spread[i] = _mm512_add_epi16(
      _mm512_set1_epi16((int16_t)(4 * i)),
      _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_setr_epi64x(0, 0, 0x0001000100010001, 0x0001000100010001)),
        _mm256_setr_epi64x(0x0002000200020002, 0x0002000200020002, 0x0003000300030003, 0x0003000300030003), 1));
  // How far the high bits of each quarter of a run are shifted, to stand above the weight's nibble.
  const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
  const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
  const __m512i nibble = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30), zero = _mm512_setzero_si512();

  limn_ahead ahead = ahead_of(j->weight);
  for (ptrdiff_t first = 0; first < j->rows; first += 16) {
    const int count = j->rows - first < 16 ? (int)(j->rows - first) : 16;
    ahead_until(&ahead, (const char *)j->weight + (size_t)(first + count) * row_bytes);
    for (int r = 0; r < count; r++) {
      const block *b = (const block *)((const char *)j->weight + (size_t)(first + r) * row_bytes);
      for (ptrdiff_t start = 0; start < blocks; start += 16) {
        _Alignas(64) __m512i total[16] = {0}, low[16] = {0};
        const int part = blocks - start < 16 ? (int)(blocks - start) : 16;
        for (int i = 0; i < part; i++, b++) {
          fetch_lines(&ahead, sizeof(block) / 64);
          const limn_x_k *xb = x + start + i;
          const uint32_t d = load_u16(b->d);
          sums.d[r * sums.wide + start + i] = (int32_t)(d | d << 16);
          const __m256i scales = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)b->scales));
          low[i] = _mm512_zextsi256_si512(_mm256_madd_epi16(scales, _mm256_loadu_si256((const __m256i *)xb->sums)));
          const __m512i all = _mm512_castsi256_si512(scales);
          __m512i sum[2] = {zero, zero};
          LIMN_UNROLL (int run = 0; run < 2; run++) {
            const __m512i q = _mm512_loadu_si512(b->low + 64 * run);
            const __m512i high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(b->high + 32 * run)));
            const __m512i parts[2] = {
              _mm512_or_si512(_mm512_and_si512(q, nibble), _mm512_and_si512(_mm512_sllv_epi16(high, left), top)),
              _mm512_or_si512(
                _mm512_and_si512(_mm512_srli_epi16(q, 4), nibble),
                _mm512_and_si512(_mm512_srlv_epi16(high, right), top))};
            LIMN_UNROLL (int k = 0; k < 2; k++)
              sum[k] = _mm512_dpwssd_epi32(
                sum[k], _mm512_dpbusd_epi32(zero, parts[k], _mm512_loadu_si512(xb->q + run * 128 + k * 64)),
                _mm512_maskz_permutexvar_epi16(0x55555555, spread[run * 2 + k], all));
          }
          total[i] = _mm512_add_epi32(sum[0], sum[1]);
        }
        _mm512_storeu_si512(sums.total + r * sums.wide + start, sum_lanes(total));
        _mm512_storeu_si512(sums.low + r * sums.wide + start, _mm512_slli_epi32(sum_lanes(low), 5));
      }
    }
    finish_k(&sums, x, blocks, count, j->y + first, &ahead);
  }
}

// MARK: Few tokens, AVX2: a register is two groups

LIMN_TARGET_AVX2 LIMN_INLINE limn_head_k head_avx2(const void *at) {
  const block *b = at;
  const __m128i scales = _mm_loadu_si128((const __m128i *)b->scales);
  const __m256i mins = _mm256_slli_epi16(_mm256_cvtepi8_epi16(scales), 5);  // 32 · scale
  return (limn_head_k){twice_avx2(even_odd_avx2(scales)), mins, load_u16(b->d)};
}
LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_avx2(const void *at, const int i) {
  const block *b = at;
  const __m256i low = _mm256_loadu_si256((const __m256i *)(b->low + i / 4 * 64 + i % 2 * 32));
  const __m256i high = _mm256_loadu_si256((const __m256i *)(b->high + i / 4 * 32));
  // Moves bits 2n and 2n + 1 of each byte, n = i % 4, to bits 4 and 5.
  const int up = i % 4 < 2 ? 4 - i % 4 * 2 : 0, down = i % 4 == 3 ? 2 : 0;
  const __m256i two = _mm256_srli_epi16(_mm256_slli_epi16(high, up), down);
  return _mm256_or_si256(
    _mm256_and_si256(i % 4 < 2 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15)),
    _mm256_and_si256(two, _mm256_set1_epi8(0x30)));
}
LIMN_FEW_K_AVX2(multiply_few_avx2, 6, .bytes = sizeof(block), .has_offset = 1, .head = head_avx2, .part = part_avx2)
#endif

int limn_recipe_q6_k(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, 16, 63);
  recipe->unpack = LIMN_PICK(isa, unpack);
#if defined(__x86_64__)
  if (isa == LIMN_AVX2) recipe->unpack = unpack_eights_avx2;
  LIMN_TAKE_FEW(recipe, isa, multiply_few_avx2, multiply_one_vnni);
  if (isa == LIMN_AVX2 || (isa == LIMN_AVX512 && !limn_has_vnni())) limn_products_centred_avx2(recipe);
#endif
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, 16, 63);
  return arithmetic == LIMN_INT8;
}
