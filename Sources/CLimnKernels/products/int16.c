// Prefill with 16-bit integers: weights and activations become integers of 14 bits, with one scale for each row (or
// token) and 32 columns. Used on AVX2 and with VNNI for F16, NVFP4, and BF16 without products of its own, and on AVX2
// for 8-bit formats with a scale for every 32 columns, whose own products are slower.
//
//   weight ≈ d · q,  |q| ≤ 8191;    x ≈ dx · xq,  |xq| ≤ 8191;      Σₖ weight · x ≈ Σ_g d[g] · dx[g] · Σ_{k in g} q · xq
//
// The sum of a group is exact, 32 · 8191² < 2³¹, so the bits are those of the scalar reference. AVX2 multiplies 16-bit
// integers 1.5 times as fast as float32, VNNI 1.7 times. Both roundings together are finer than that of activations to
// F16, also with outliers, unless the weights of an outlier's column are as small as the outlier is large: then what
// its neighbours lose is not hidden behind it. Such matrices are found by their columns (limn_has_uneven_columns) and
// multiplied in float32.
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

_Static_assert(sizeof(limn_panel_16) == 8192 + 512, "panel of 256 columns");
_Static_assert(sizeof(limn_x_16) == 576, "nine cache lines of activations");

enum { MOST = 8191 };

/// Groups of 32 columns; the last one is filled up with zeros.
LIMN_INLINE int groups_of(int columns) { return (columns + 31) / 32; }

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const limn_panel_16 *w = panel;
  for (int t = 0; t < tokens; t++) {
    const limn_x_16 *xt = (const limn_x_16 *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      float *a = acc + t * acc_stride + r;
      for (int g = 0; g < groups_of(columns); g++) {
        int32_t sum = 0;
        for (int k = g * 32; k < (g + 1) * 32; k++) sum += w->q[k / 2][r][k % 2] * xt->q[k];
        *a = fmaf(w->d[g][r] * xt->d[g], (float)sum, *a);
      }
    }
  }
}

/// Rounds groups of adjacent values. `q` has room for whole groups.
static void round_scalar(const float *x, int columns, int16_t *q, float *d, ptrdiff_t d_step) {
  for (int g = 0; g < groups_of(columns); g++) {
    const int count = columns - g * 32 < 32 ? columns - g * 32 : 32;
    memset(q + g * 32, 0, 32 * sizeof *q);
    d[g * d_step] = limn_round_to_16(x + g * 32, count, MOST, q + g * 32, 2);
  }
}

static void prepare_scalar(const float *x, void *prepared, int columns) {
  limn_x_16 *out = prepared;
  round_scalar(x, columns, out->q, out->d, 1);
}

static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  float values[LIMN_BLOCK];
  int16_t q[LIMN_BLOCK];
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    recipe->dequantize((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes, values, columns);
    round_scalar(values, columns, q, &w->d[0][r], LIMN_PANEL_ROWS);
    for (int k = 0; k < 32 * groups_of(columns); k++) w->q[k / 2][r][k % 2] = q[k];
  }
}

/// Panels of bytes become panels of words, with the same scales.
static void unpack_32_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  limn_panel_32 own;
  recipe->unpack_own(recipe, weight, row_bytes, rows, columns, &own);
  memcpy(w->d, own.d, sizeof w->d);
  for (int k = 0; k < columns; k++)
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) w->q[k / 2][r][k % 2] = (int16_t)(own.q[k / 4][r][k % 4] - own.offset);
}

int limn_has_uneven_columns(const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns) {
  enum { ROWS = 32, MOST_RATIO = 8 };
  const int sampled = rows < ROWS ? rows : ROWS;
  float values[LIMN_BLOCK], energy[LIMN_BLOCK];
  for (int first = 0; first < columns; first += LIMN_BLOCK) {
    const int count = columns - first < LIMN_BLOCK ? columns - first : LIMN_BLOCK;
    memset(energy, 0, sizeof energy);
    for (int s = 0; s < sampled; s++) {
      const char *row = (const char *)weight + (size_t)((int64_t)rows * s / sampled) * row_bytes;
      recipe->dequantize(row + (size_t)(first / LIMN_BLOCK) * recipe->weight_bytes, values, count);
      for (int k = 0; k < count; k++) energy[k] += values[k] * values[k];
    }
    for (int g = 0; g < count; g += 32) {
      float most = 0, least = INFINITY;
      for (int k = g; k < g + 32 && k < count; k++) {
        most = energy[k] > most ? energy[k] : most;
        least = energy[k] < least ? energy[k] : least;
      }
      if (most > least * (MOST_RATIO * MOST_RATIO)) return 1;
    }
  }
  return 0;
}

#if defined(__x86_64__)
// MARK: Preparing and unpacking in vectors, for AVX-512, too

/// round_scalar for whole groups.
LIMN_TARGET_AVX2 LIMN_INLINE void round_avx2(const float *x, int groups, int16_t *q, float *d, ptrdiff_t d_step) {
  // Magnitudes compare as their bits do, and those of NaN are the largest.
  const __m256i magnitude = _mm256_set1_epi32(INT32_MAX);
  for (int g = 0; g < groups; g++, x += 32, q += 32, d += d_step) {
    __m256 v[4];
    __m256i bits[4];
    LIMN_UNROLL (int i = 0; i < 4; i++) {
      v[i] = _mm256_loadu_ps(x + 8 * i);
      bits[i] = _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude);
    }
    const __m256i both = _mm256_max_epi32(_mm256_max_epi32(bits[0], bits[1]), _mm256_max_epi32(bits[2], bits[3]));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    const float largest = float_from_bits((uint32_t)_mm_cvtsi128_si32(four));
    if (!is_scalable(largest)) {
      memset(q, 0, 32 * sizeof *q);
      *d = largest * 0;
      continue;
    }
    const __m256 inverse = _mm256_set1_ps((float)MOST / largest);
    *d = largest / (float)MOST;
    LIMN_UNROLL (int i = 0; i < 4; i += 2) {
      const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
      const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(v[i + 1], inverse));
      limn_store_avx2(q + 8 * i, _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8));
    }
  }
}

LIMN_TARGET_AVX2 static void prepare_avx2(const float *x, void *prepared, int columns) {
  limn_x_16 *out = prepared;
  _Alignas(32) float whole[LIMN_BLOCK];
  if (columns % 32) {
    memset(whole + columns / 32 * 32, 0, 32 * sizeof *whole);
    x = memcpy(whole, x, (size_t)columns * sizeof *whole);
  }
  round_avx2(x, groups_of(columns), out->q, out->d, 1);
}

/// Rounds row after row, then transposes 16 columns of eight rows at a time.
LIMN_TARGET_AVX2 static void unpack_avx2(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  _Alignas(32) float values[LIMN_BLOCK];
  _Alignas(32) int16_t words[LIMN_PANEL_ROWS][LIMN_BLOCK];
  const uint8_t *row[LIMN_PANEL_ROWS];
  const int groups = groups_of(columns);
  if (columns % 32) memset(values + columns / 32 * 32, 0, 32 * sizeof *values);
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const char *from = (const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes;
    // Prefetches the same place of the next panel: rows of a few kilobytes end before the hardware prefetcher starts.
    for (size_t at = 0; at < recipe->weight_bytes; at += 64)
      __builtin_prefetch(from + LIMN_PANEL_ROWS * row_bytes + at, 0, 2);
    recipe->dequantize(from, values, columns);
    round_avx2(values, groups, words[r], &w->d[0][r], LIMN_PANEL_ROWS);
    row[r] = (const uint8_t *)words[r];
  }
  for (int k = 0; k < 32 * groups; k += 16)
    LIMN_UNROLL (int r = 0; r < LIMN_PANEL_ROWS; r += 8) {
      __m256i pairs[8];
      limn_words_avx2(row + r, (size_t)k * sizeof(int16_t), pairs);
      LIMN_UNROLL (int i = 0; i < 8; i++) limn_store_avx2(w->q[k / 2 + i][r], pairs[i]);
    }
}

LIMN_TARGET_AVX2 static void unpack_32_avx2(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  limn_panel_32 own;
  recipe->unpack_own(recipe, weight, row_bytes, rows, columns, &own);
  memcpy(w->d, own.d, sizeof w->d);
  const __m256i offset = _mm256_set1_epi8((char)own.offset);
  // Moves the first two, or the last two, of four columns of a row to the upper bytes of 16-bit words.
  const __m256i first = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13));
  const __m256i last = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15));
  for (int k = 0; k < columns / 4; k++)
    LIMN_UNROLL (int r = 0; r < LIMN_PANEL_ROWS; r += 8) {
      const __m256i q = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)own.q[k][r]), offset);
      limn_store_avx2(w->q[2 * k][r], _mm256_srai_epi16(_mm256_shuffle_epi8(q, first), 8));
      limn_store_avx2(w->q[2 * k + 1][r], _mm256_srai_epi16(_mm256_shuffle_epi8(q, last), 8));
    }
}

// MARK: AVX2 and AVX-VNNI: 16 rows in two registers, up to 6 tokens

/// `add` is an expression for the new sum, of `sum`, the weights `q` and the activations `xq`.
#define LIMN_MULTIPLY(name, target, add)                                                                               \
  target LIMN_INLINE void tile_##name(                                                                                 \
    const limn_panel_16 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) { \
    for (int g = 0; g < groups_of(columns); g++) {                                                                     \
      __m256i sums[2][LIMN_AVX2_TOKENS];                                                                               \
      LIMN_UNROLL (int c = 0; c < C; c++) sums[0][c] = sums[1][c] = _mm256_setzero_si256();                            \
      _Pragma("clang loop unroll(disable)") LIMN_ALIGNED_LOOP for (int k = g * 16; k < (g + 1) * 16; k++) {            \
        const char *x0 = x + 4 * k, *x3 = limn_token_3_avx2(x0, x_stride);                                             \
        LIMN_UNROLL (int c = 0; c < C; c++) {                                                                          \
          const __m256i xq = limn_token_avx2(x0, x3, x_stride, c);                                                     \
          LIMN_UNROLL (int v = 0; v < 2; v++) {                                                                        \
            const __m256i sum = sums[v][c], q = _mm256_loadu_si256((const __m256i *)w->q[k] + v);                      \
            sums[v][c] = add;                                                                                          \
          }                                                                                                            \
        }                                                                                                              \
      }                                                                                                                \
      limn_add_scaled_avx2(sums, w->d[g], &((const limn_x_16 *)x)->d[g], x_stride, acc, acc_stride, C);                \
    }                                                                                                                  \
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
  __m512 a[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) a[c] = _mm512_loadu_ps(acc + c * acc_stride);
  for (int g = 0; g < groups_of(columns); g++) {
    __m512i sum[LIMN_TILE_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm512_setzero_si512();
    LIMN_UNROLL (int k = g * 16; k < (g + 1) * 16; k++) {
      const __m512i q = _mm512_loadu_si512(w->q[k]);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        int32_t two;
        memcpy(&two, x + c * x_stride + 4 * k, sizeof two);
        sum[c] = _mm512_dpwssd_epi32(sum[c], q, _mm512_set1_epi32(two));
      }
      limn_in_order();
    }
    const __m512 d = _mm512_loadu_ps(w->d[g]);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(((const limn_x_16 *)(x + c * x_stride))->d[g]));
      a[c] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum[c]), a[c]);
    }
  }
  LIMN_UNROLL (int c = 0; c < C; c++) _mm512_storeu_ps(acc + c * acc_stride, a[c]);
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
  if (isa == LIMN_AVX512 && limn_has_vnni()) {
    recipe->prepare = prepare_avx2;
    recipe->unpack = unpack_avx2;
    recipe->multiply = multiply_vnni;
    return 1;
  }
#endif
  return 0;
}

int limn_products_int16_of_32(limn_recipe *recipe, limn_isa isa) {
  recipe->unpack_own = recipe->unpack;
  if (isa != LIMN_SCALAR && (isa != LIMN_AVX2 || limn_has_avx_vnni())) return 0;
  limn_products_int16(recipe, isa);
  recipe->unpack = unpack_32_scalar;
#if defined(__x86_64__)
  if (isa == LIMN_AVX2) recipe->unpack = unpack_32_avx2;
#endif
  return 1;
}
