// Prefill with 16-bit integers: weights and activations become integers of 12 and 13 bits, with one scale for each row
// (or token) and block. Used for floats where bfloat16 products are missing or slow (AVX2, and VNNI without BF16), and
// on AVX2 for 8-bit formats with a scale for every 32 columns, whose own products are slower.
//
//   weight ≈ d · q,  |q| ≤ 2047;    x ≈ dx · xq,  |xq| ≤ 4095;      Σₖ weight · x ≈ d · dx · Σ q · xq
//
// The sum of a block is exact: 256 · 2047 · 4095 < 2³¹, so the bits are those of the scalar reference. AVX2 multiplies
// 16-bit integers 1.5 times as fast as float32, VNNI twice as fast. The rounding is finer than bfloat16's for all but
// the smallest values of a block; activations get more bits because they have outliers.
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

_Static_assert(sizeof(limn_panel_16) == 8192 + 64, "panel of 256 columns");
_Static_assert(sizeof(limn_x_16) == 576, "nine cache lines of activations");

enum { MOST_W = 2047, MOST_X = 4095 };

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const limn_panel_16 *w = panel;
  for (int t = 0; t < tokens; t++) {
    const limn_x_16 *xt = (const limn_x_16 *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      int32_t sum = 0;
      for (int k = 0; k < columns; k++) sum += w->q[k / 2][r][k % 2] * xt->q[k];
      float *a = acc + t * acc_stride + r;
      *a = fmaf(w->d[r] * xt->d, (float)sum, *a);
    }
  }
}

/// An odd last column is paired with a zero.
static void prepare_scalar(const float *x, void *prepared, int columns) {
  limn_x_16 *out = prepared;
  out->d = limn_round_to_16(x, columns, MOST_X, out->q, 2);
  if (columns % 2) out->q[columns] = 0;
}

static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  float values[LIMN_BLOCK];
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    recipe->dequantize((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes, values, columns);
    w->d[r] = limn_round_to_16(values, columns, MOST_W, w->q[0][r], 2 * LIMN_PANEL_ROWS);
    if (columns % 2) w->q[columns / 2][r][1] = 0;
  }
}

// The same from panels of 8-bit integers: the scales s of the groups, relative to the largest one, become integers as
// well.
//
//   weight = d[g] · q ≈ d · (q · 2ˢʰⁱᶠᵗ · s[g] / 2¹⁵, rounded),    |s[g]| ≤ 2047

/// The number of bits that q ≤ largest_q leaves free of 16.
static int spare_bits(int largest_q) {
  int bits = 0;
  while (largest_q << (bits + 1) <= -INT16_MIN) bits++;
  return bits;
}

static void round_panel_scalar(const limn_panel_32 *from, int largest_q, int columns, limn_panel_16 *w) {
  const int shift = spare_bits(largest_q);
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    float largest = 0, check = 0;
    for (int g = 0; g < columns / 32; g++) {
      largest = fabsf(from->d[g][r]) > largest ? fabsf(from->d[g][r]) : largest;
      check += from->d[g][r] * 0;
    }
    const int any = check == 0 && largest > 1e-30f;
    const float inverse = any ? MOST_W / largest : 0;
    w->d[r] = any ? largest * ((float)(1 << (15 - shift)) / MOST_W) : check;
    for (int k = 0; k < columns; k++) {
      const int q = from->q[k / 4][r][k % 4] - from->offset;
      const int scale = any ? (int32_t)rintf(from->d[k / 32][r] * inverse) : 0;
      w->q[k / 2][r][k % 2] = (int16_t)((q * (1 << shift) * scale + (1 << 14)) >> 15);
    }
  }
}

static void unpack_32_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_32 own;
  recipe->unpack_own(recipe, weight, row_bytes, rows, columns, &own);
  round_panel_scalar(&own, recipe->largest_q, columns, panel);
}

#if defined(__x86_64__)
// MARK: Preparing and unpacking in vectors, for AVX-512, too

/// Like limn_round_to_16 for adjacent values. `columns` is a multiple of 16, padded with zeros.
LIMN_TARGET_AVX2 LIMN_INLINE float round_avx2(const float *x, int columns, int most, int16_t *q) {
  // Magnitudes compare as their bits do, and those of NaN are the largest.
  const __m256i magnitude = _mm256_set1_epi32(INT32_MAX);
  __m256i largest[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  for (int k = 0; k < columns; k += 16)
    LIMN_UNROLL (int i = 0; i < 2; i++) {
      const __m256i bits = _mm256_loadu_si256((const __m256i *)(x + k + 8 * i));
      largest[i] = _mm256_max_epi32(largest[i], _mm256_and_si256(bits, magnitude));
    }
  const __m256i both = _mm256_max_epi32(largest[0], largest[1]);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  const float high = float_from_bits((uint32_t)_mm_cvtsi128_si32(four));
  if (!is_scalable(high)) {
    memset(q, 0, (size_t)columns * sizeof *q);
    return high * 0;
  }
  const __m256 inverse = _mm256_set1_ps((float)most / high);
  for (int k = 0; k < columns; k += 16) {
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + k), inverse));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + k + 8), inverse));
    limn_store_avx2(q + k, _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8));
  }
  return high / (float)most;
}

LIMN_TARGET_AVX2 static void prepare_avx2(const float *x, void *prepared, int columns) {
  limn_x_16 *out = prepared;
  _Alignas(32) float part[LIMN_BLOCK];
  const int whole = (columns + 15) & ~15;
  if (whole != columns) {
    memset(part + (whole - 16), 0, 16 * sizeof(float));
    x = memcpy(part, x, (size_t)columns * sizeof(float));
  }
  out->d = round_avx2(x, whole, MOST_X, out->q);
}

/// Rounds row after row, then transposes 16 columns of eight rows at a time.
LIMN_TARGET_AVX2 static void unpack_avx2(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  _Alignas(32) float values[LIMN_BLOCK];
  _Alignas(32) int16_t words[LIMN_PANEL_ROWS][LIMN_BLOCK];
  const uint8_t *row[LIMN_PANEL_ROWS];
  const int whole = (columns + 15) & ~15;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const char *from = (const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes;
    // Prefetches the same place of the next panel: rows of a few kilobytes end before the hardware prefetcher starts.
    for (size_t at = 0; at < recipe->weight_bytes; at += 64)
      __builtin_prefetch(from + LIMN_PANEL_ROWS * row_bytes + at, 0, 2);
    if (whole != columns) memset(values + (whole - 16), 0, 16 * sizeof(float));
    recipe->dequantize(from, values, columns);
    w->d[r] = round_avx2(values, whole, MOST_W, words[r]);
    row[r] = (const uint8_t *)words[r];
  }
  for (int k = 0; k < whole; k += 16)
    LIMN_UNROLL (int r = 0; r < LIMN_PANEL_ROWS; r += 8) {
      __m256i pairs[8];
      limn_words_avx2(row + r, (size_t)k * sizeof(int16_t), pairs);
      LIMN_UNROLL (int i = 0; i < 8; i++) limn_store_avx2(w->q[k / 2 + i][r], pairs[i]);
    }
}

LIMN_TARGET_AVX2 static void round_panel_avx2(const limn_panel_32 *from, int largest_q, int columns, limn_panel_16 *w) {
  const int shift = spare_bits(largest_q), groups = columns / 32;
  const __m256i magnitude = _mm256_set1_epi32(INT32_MAX), offset = _mm256_set1_epi8((char)from->offset);
  // Moves the first two, or the last two, of four columns of a row to the upper bytes of 16-bit words.
  const __m256i first = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13));
  const __m256i last = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15));
  const __m256i twice = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13));
  const __m128i left = _mm_cvtsi32_si128(shift - 8);
  for (int r = 0; r < LIMN_PANEL_ROWS; r += 8) {
    __m256i bits = _mm256_setzero_si256();
    for (int g = 0; g < groups; g++)
      bits = _mm256_max_epi32(bits, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(from->d[g] + r)), magnitude));
    const __m256 largest = _mm256_castsi256_ps(bits), wrong = _mm256_mul_ps(largest, _mm256_setzero_ps());
    const __m256 any = _mm256_and_ps(
      _mm256_cmp_ps(wrong, _mm256_setzero_ps(), _CMP_EQ_OQ),
      _mm256_cmp_ps(largest, _mm256_set1_ps(1e-30f), _CMP_GT_OQ));
    const __m256 inverse = _mm256_and_ps(any, _mm256_div_ps(_mm256_set1_ps(MOST_W), largest));
    const __m256 d = _mm256_mul_ps(largest, _mm256_set1_ps((float)(1 << (15 - shift)) / MOST_W));
    _mm256_storeu_ps(w->d + r, _mm256_blendv_ps(wrong, d, any));
    for (int g = 0; g < groups; g++) {
      // NaN is converted to 2³¹, whose lower half is zero.
      const __m256i scale = _mm256_shuffle_epi8(
        _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from->d[g] + r), inverse)), twice);
      LIMN_UNROLL (int k = 0; k < 8; k++) {
        const __m256i q = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)from->q[g * 8 + k][r]), offset);
        const __m256i a = _mm256_sll_epi16(_mm256_shuffle_epi8(q, first), left);
        const __m256i b = _mm256_sll_epi16(_mm256_shuffle_epi8(q, last), left);
        limn_store_avx2(w->q[g * 16 + 2 * k][r], _mm256_mulhrs_epi16(a, scale));
        limn_store_avx2(w->q[g * 16 + 2 * k + 1][r], _mm256_mulhrs_epi16(b, scale));
      }
    }
  }
}

LIMN_TARGET_AVX2 static void unpack_32_avx2(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_32 own;
  recipe->unpack_own(recipe, weight, row_bytes, rows, columns, &own);
  round_panel_avx2(&own, recipe->largest_q, columns, panel);
}

// MARK: AVX2 and AVX-VNNI: 16 rows in two registers, up to 6 tokens

/// `add` is an expression for the new sum, of `sum`, the weights `q` and the activations `xq`.
#define LIMN_MULTIPLY(name, target, add)                                                                               \
  target LIMN_INLINE void tile_##name(                                                                                 \
    const limn_panel_16 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) { \
    __m256i sums[2][LIMN_AVX2_TOKENS];                                                                                 \
    LIMN_UNROLL (int c = 0; c < C; c++) sums[0][c] = sums[1][c] = _mm256_setzero_si256();                              \
    _Pragma("clang loop unroll(disable)") LIMN_ALIGNED_LOOP for (int k = 0; k < (columns + 1) / 2; k++) {              \
      const char *x0 = x + 4 * k, *x3 = limn_token_3_avx2(x0, x_stride);                                               \
      LIMN_UNROLL (int c = 0; c < C; c++) {                                                                            \
        const __m256i xq = limn_token_avx2(x0, x3, x_stride, c);                                                       \
        LIMN_UNROLL (int v = 0; v < 2; v++) {                                                                          \
          const __m256i sum = sums[v][c], q = _mm256_loadu_si256((const __m256i *)w->q[k] + v);                        \
          sums[v][c] = add;                                                                                            \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
    limn_add_scaled_avx2(sums, w->d, &((const limn_x_16 *)x)->d, x_stride, acc, acc_stride, C);                        \
  }                                                                                                                    \
  target static void multiply_##name(                                                                                  \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {       \
    const char *xt = x;                                                                                                \
    LIMN_TILES(6, tile_##name, columns)                                                                                \
    LIMN_TILES(4, tile_##name, columns)                                                                                \
    LIMN_TILES(2, tile_##name, columns)                                                                                \
    LIMN_TILES(1, tile_##name, columns)                                                                                \
  }
LIMN_MULTIPLY(avx2, LIMN_TARGET_AVX2, _mm256_add_epi32(sum, _mm256_madd_epi16(q, xq)))
LIMN_MULTIPLY(avx_vnni, LIMN_TARGET_AVX_VNNI, _mm256_dpwssd_avx_epi32(sum, q, xq))

// MARK: AVX-512 VNNI: 16 rows in a register, up to 12 tokens

LIMN_TARGET_VNNI LIMN_INLINE void tile_vnni(
  const limn_panel_16 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  __m512i sum[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm512_setzero_si512();
  for (int k = 0; k < (columns + 1) / 2; k++) {
    const __m512i q = _mm512_loadu_si512(w->q[k]);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      int32_t two;
      memcpy(&two, x + c * x_stride + 4 * k, sizeof two);
      sum[c] = _mm512_dpwssd_epi32(sum[c], q, _mm512_set1_epi32(two));
    }
  }
  const __m512 d = _mm512_loadu_ps(w->d);
  LIMN_UNROLL (int c = 0; c < C; c++) {
    const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(((const limn_x_16 *)(x + c * x_stride))->d));
    float *a = acc + c * acc_stride;
    _mm512_storeu_ps(a, _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum[c]), _mm512_loadu_ps(a)));
  }
}

LIMN_TARGET_VNNI static void multiply_vnni(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const char *xt = x;
  LIMN_TILES(12, tile_vnni, columns)
  LIMN_TILES(6, tile_vnni, columns)
  LIMN_TILES(3, tile_vnni, columns)
  LIMN_TILES(1, tile_vnni, columns)
}
#endif

int limn_products_int16(limn_recipe *recipe, limn_isa isa) {
  recipe->few_tokens = 0;
  recipe->panel_bytes = sizeof(limn_panel_16);
  recipe->x_bytes = sizeof(limn_x_16);
  recipe->prepare = prepare_scalar;
  recipe->unpack = unpack_scalar;
  recipe->multiply = multiply_scalar;
  if (isa == LIMN_SCALAR) return 1;
#if defined(__x86_64__)
  if (isa == LIMN_AVX2) {
    recipe->prepare = prepare_avx2;
    recipe->unpack = unpack_avx2;
    recipe->multiply = limn_has_avx_vnni() ? multiply_avx_vnni : multiply_avx2;
    return 1;
  }
  // Without VNNI, float32 is as fast in the wider registers of AVX-512.
  if (isa == LIMN_AVX512 && limn_has_vnni() && !limn_has_bf16()) {
    recipe->prepare = prepare_avx2;
    recipe->unpack = unpack_avx2;
    recipe->multiply = multiply_vnni;
    return 1;
  }
#endif
  return 0;
}

int limn_products_int16_of_32(limn_recipe *recipe, limn_isa isa, int largest_q) {
  recipe->unpack_own = recipe->unpack;
  recipe->largest_q = largest_q;
  if (isa != LIMN_SCALAR && (isa != LIMN_AVX2 || limn_has_avx_vnni())) return 0;
  limn_products_int16(recipe, isa);
  recipe->unpack = unpack_32_scalar;
#if defined(__x86_64__)
  if (isa == LIMN_AVX2) recipe->unpack = unpack_32_avx2;
#endif
  return 1;
}
