// Products for prompts where there is no instruction for pairs of bfloat16, on AVX2 and with VNNI: weights and activations
// become integers of 12 and 13 bits with one scale for each row, or token, and block.
//
//   weight ≈ d · q,  |q| ≤ 2047;    x ≈ dx · xq,  |xq| ≤ 4095;      Σₖ weight · x ≈ d · dx · Σ q · xq
//
// A block's sum is exact: 256 · 2047 · 4095 < 2³¹, so the bits are those of the scalar reference. AVX2 multiplies 16-bit
// integers 1.5 times as fast as float32, VNNI twice as fast. The rounding is finer than bfloat16's for all but the smallest
// values of a block; activations have the more bits since they have outliers.
#include "kernels.h"
#include "product_avx2.h"
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

/// Rounds to nearest even by most / max|x|. A block of (nearly) zeros becomes zeros; where a value is no number, neither
/// is the scale. Values past the last are not touched.
static float round_scalar(const float *x, int columns, int most, int16_t *q, ptrdiff_t step) {
  float largest = 0, check = 0;
  for (int k = 0; k < columns; k++) {
    largest = fabsf(x[k]) > largest ? fabsf(x[k]) : largest;
    check += x[k] * 0;
  }
  const int any = check == 0 && largest > 1e-30f;
  const float inverse = any ? (float)most / largest : 0;
  for (int k = 0; k < columns; k++)
    q[k / 2 * step + k % 2] = any ? (int16_t)(int32_t)rintf(x[k] * inverse) : 0;
  return any ? largest / (float)most : check;
}

/// An odd last column gets a zero beside it.
static void prepare_scalar(const float *x, void *prepared, int columns) {
  limn_x_16 *out = prepared;
  out->d = round_scalar(x, columns, MOST_X, out->q, 2);
  if (columns % 2) out->q[columns] = 0;
}

static void unpack_scalar(
  const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  float values[LIMN_BLOCK];
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    path->dequantize((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes, values, columns);
    w->d[r] = round_scalar(values, columns, MOST_W, w->q[0][r], 2 * LIMN_PANEL_ROWS);
    if (columns % 2) w->q[columns / 2][r][1] = 0;
  }
}

#if defined(__x86_64__)
// MARK: Preparing and unpacking in vectors

/// Integers of 16 bits, to nearest even.
LIMN_INLINE v16s v_round_words(v16f x) {
  return __builtin_convertvector(__builtin_convertvector(__builtin_elementwise_roundeven(x), v16i), v16s);
}

/// As round_scalar. `columns` is a multiple of 16; what is missing is zeros.
LIMN_INLINE float round_vectors(const float *x, int columns, int most, int16_t *q) {
  v16f largest = v_splat(0), check = v_splat(0);
  for (int k = 0; k < columns; k += 16) {
    const v16f values = v_load(x + k);
    largest = v_max(largest, v_abs(values));
    check += values * 0;
  }
  const float high = v_largest(largest), wrong = v_sum(check);
  const int any = wrong == 0 && high > 1e-30f;
  const float inverse = any ? (float)most / high : 0;
  for (int k = 0; k < columns; k += 16) {
    const v16s words = v_round_words(v_load(x + k) * inverse);
    if (any)
      memcpy(q + k, &words, sizeof words);
    else
      memset(q + k, 0, sizeof words);
  }
  return any ? high / (float)most : wrong;
}

LIMN_INLINE void prepare_body(const float *x, void *prepared, int columns) {
  limn_x_16 *out = prepared;
  _Alignas(64) float part[LIMN_BLOCK];
  const int whole = (columns + 15) & ~15;
  if (whole != columns) {
    memset(part + (whole - 16), 0, 16 * sizeof(float));
    x = memcpy(part, x, (size_t)columns * sizeof(float));
  }
  out->d = round_vectors(x, whole, MOST_X, out->q);
}
LIMN_INSTANCES(prepare, (const float *x, void *prepared, int columns), (x, prepared, columns))

/// Rows one after another, then 32 columns of all of them.
LIMN_INLINE void unpack_body(
  const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  limn_panel_16 *w = panel;
  _Alignas(64) float values[LIMN_BLOCK];
  _Alignas(64) int16_t words[LIMN_PANEL_ROWS][LIMN_BLOCK];
  const int whole = (columns + 15) & ~15;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const char *row = (const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes;
    // The same place of the next panel: rows of a few kilobytes end before the processor looks ahead.
    for (size_t at = 0; at < path->weight_bytes; at += 64)
      __builtin_prefetch(row + LIMN_PANEL_ROWS * row_bytes + at, 0, 2);
    if (whole != columns) memset(values + (whole - 16), 0, 16 * sizeof(float));
    path->dequantize(row, values, columns);
    w->d[r] = round_vectors(values, whole, MOST_W, words[r]);
    if (whole % 32) memset(words[r] + whole, 0, 16 * sizeof(int16_t));
  }
  for (int k = 0; k < columns; k += 32) {
    v16i r[16];
    LIMN_UNROLL for (int i = 0; i < 16; i++) r[i] = v_load_bytes(words[i] + k);
    v_transpose(r);
    LIMN_UNROLL for (int i = 0; i < 16; i++) v_store_bytes(w->q[k / 2 + i], r[i]);
  }
}
LIMN_INSTANCES(
  unpack, (const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (path, weight, row_bytes, rows, columns, panel))

// MARK: AVX2 and AVX-VNNI: 16 rows in two registers, up to 6 tokens

/// `add` makes a new sum of `sum`, the weights `q` and the activations `xq`.
#define LIMN_MULTIPLY(name, target, add)                                                                           \
  target LIMN_INLINE void tile_##name(                                                                             \
    const limn_panel_16 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) { \
    __m256i sums[2][LIMN_AVX2_TOKENS];                                                                             \
    LIMN_UNROLL for (int c = 0; c < C; c++) sums[0][c] = sums[1][c] = _mm256_setzero_si256();                      \
    _Pragma("clang loop unroll(disable)") LIMN_ALIGNED_LOOP for (int k = 0; k < (columns + 1) / 2; k++) {          \
      const char *x0 = x + 4 * k, *x3 = limn_token_3_avx2(x0, x_stride);                                           \
      LIMN_UNROLL for (int c = 0; c < C; c++) {                                                                    \
        const __m256i xq = limn_token_avx2(x0, x3, x_stride, c);                                                   \
        LIMN_UNROLL for (int v = 0; v < 2; v++) {                                                                  \
          const __m256i sum = sums[v][c], q = _mm256_loadu_si256((const __m256i *)w->q[k] + v);                    \
          sums[v][c] = add;                                                                                        \
        }                                                                                                          \
      }                                                                                                            \
    }                                                                                                              \
    limn_add_scaled_avx2(sums, w->d, &((const limn_x_16 *)x)->d, x_stride, acc, acc_stride, C);                    \
  }                                                                                                                \
  target static void multiply_##name(                                                                              \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {   \
    const char *xt = x;                                                                                            \
    LIMN_TILES(6, tile_##name, columns)                                                                            \
    LIMN_TILES(4, tile_##name, columns)                                                                            \
    LIMN_TILES(2, tile_##name, columns)                                                                            \
    LIMN_TILES(1, tile_##name, columns)                                                                            \
  }
LIMN_MULTIPLY(avx2, LIMN_TARGET_AVX2, _mm256_add_epi32(sum, _mm256_madd_epi16(q, xq)))
LIMN_MULTIPLY(avx_vnni, LIMN_TARGET_AVX_VNNI, _mm256_dpwssd_avx_epi32(sum, q, xq))

// MARK: AVX-512 VNNI: 16 rows in a register, up to 12 tokens

LIMN_TARGET_VNNI LIMN_INLINE void tile_vnni(
  const limn_panel_16 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  __m512i sum[LIMN_TILE_TOKENS];
  LIMN_UNROLL for (int c = 0; c < C; c++) sum[c] = _mm512_setzero_si512();
  for (int k = 0; k < (columns + 1) / 2; k++) {
    const __m512i q = _mm512_loadu_si512(w->q[k]);
    LIMN_UNROLL for (int c = 0; c < C; c++) {
      int32_t two;
      memcpy(&two, x + c * x_stride + 4 * k, sizeof two);
      sum[c] = _mm512_dpwssd_epi32(sum[c], q, _mm512_set1_epi32(two));
    }
  }
  const __m512 d = _mm512_loadu_ps(w->d);
  LIMN_UNROLL for (int c = 0; c < C; c++) {
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

int limn_products_int16(limn_path *path, limn_isa isa) {
  path->multiply_one = NULL;
  path->panel_bytes = sizeof(limn_panel_16);
  path->x_bytes = sizeof(limn_x_16);
  path->prepare = prepare_scalar;
  path->unpack = unpack_scalar;
  path->multiply = multiply_scalar;
  if (isa == LIMN_SCALAR) return 1;
#if defined(__x86_64__)
  if (isa == LIMN_AVX2) {
    path->prepare = prepare_avx2;
    path->unpack = unpack_avx2;
    path->multiply = limn_has_avx_vnni() ? multiply_avx_vnni : multiply_avx2;
    return 1;
  }
  // Without VNNI, float32 is as fast in the wider registers of AVX-512.
  if (isa == LIMN_AVX512 && limn_has_vnni() && !limn_has_bf16()) {
    path->prepare = prepare_avx512;
    path->unpack = unpack_avx512;
    path->multiply = multiply_vnni;
    return 1;
  }
#endif
  return 0;
}
