// Products of bfloat16 panels [column / 2][row][2] with float32 sums, in chains of 64 columns as for float32.
//
// The vector instruction has its own rounding (exact products, denormal sums flushed to zero), so results agree with
// the reference within rounding only. For a given row and token, a machine always computes the same bits.
#include "machine/amx.h"
#include "kernels.h"
#include "simd.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHAIN = 64 };

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const uint16_t(*w)[LIMN_PANEL_ROWS][2] = panel;
  for (int t = 0; t < tokens; t++) {
    const uint16_t *xt = (const uint16_t *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      for (int start = 0; start < columns; start += CHAIN) {
        float sum = 0;
        for (int k = start; k < columns && k < start + CHAIN; k++)
          sum = fmaf(float_from_bfloat(w[k / 2][r][k % 2]), float_from_bfloat(xt[k]), sum);
        acc[t * acc_stride + r] += sum;
      }
    }
  }
}

/// An odd last column is paired with a zero.
static void prepare_scalar(const float *x, void *prepared, int columns) {
  uint16_t *out = prepared;
  for (int k = 0; k < columns; k++) out[k] = bfloat_from_float(x[k]);
  if (columns % 2) out[columns] = 0;
}

static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  uint16_t(*w)[LIMN_PANEL_ROWS][2] = panel;
  float values[LIMN_BLOCK + 1];
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    recipe->dequantize((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes, values, columns);
    values[columns] = 0;
    for (int k = 0; k < columns; k++) w[k / 2][r][k % 2] = bfloat_from_float(values[k]);
    if (columns % 2) w[columns / 2][r][1] = 0;
  }
}

#if defined(__x86_64__)
// MARK: AVX-512 BF16

LIMN_TARGET_BF16 LIMN_INLINE __m512bh splat_pair(const char *x) {
  int32_t pair;
  memcpy(&pair, x, 4);
  return (__m512bh)_mm512_set1_epi32(pair);
}

LIMN_TARGET_BF16 LIMN_INLINE void tile(
  const char *panel, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  const int pairs = (columns + 1) / 2;
  __m512 total[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[c] = _mm512_loadu_ps(acc + c * acc_stride);
  for (int start = 0; start < pairs; start += CHAIN / 2) {
    const int end = start + CHAIN / 2 < pairs ? start + CHAIN / 2 : pairs;
    __m512 sum[LIMN_TILE_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm512_setzero_ps();
    for (int k = start; k < end; k++) {
      const __m512bh w = (__m512bh)_mm512_loadu_si512(panel + k * 64);
      LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm512_dpbf16_ps(sum[c], w, splat_pair(x + c * x_stride + k * 4));
    }
    LIMN_UNROLL (int c = 0; c < C; c++) total[c] = _mm512_add_ps(total[c], sum[c]);
  }
  LIMN_UNROLL (int c = 0; c < C; c++) _mm512_storeu_ps(acc + c * acc_stride, total[c]);
}

/// One token and a whole block: the four chains run side by side, since each step of a chain waits for the previous
/// one.
LIMN_TARGET_BF16 LIMN_INLINE void tile_of_one(const char *panel, const char *x, float *acc) {
  __m512 sum[LIMN_BLOCK / CHAIN], total = _mm512_loadu_ps(acc);
  LIMN_UNROLL (int i = 0; i < LIMN_BLOCK / CHAIN; i++) sum[i] = _mm512_setzero_ps();
  for (int k = 0; k < CHAIN / 2; k++)
    LIMN_UNROLL (int i = 0; i < LIMN_BLOCK / CHAIN; i++) {
      const int at = i * CHAIN / 2 + k;
      const __m512bh w = (__m512bh)_mm512_loadu_si512(panel + at * 64);
      sum[i] = _mm512_dpbf16_ps(sum[i], w, splat_pair(x + at * 4));
    }
  LIMN_UNROLL (int i = 0; i < LIMN_BLOCK / CHAIN; i++) total = _mm512_add_ps(total, sum[i]);
  _mm512_storeu_ps(acc, total);
}

/// 32 columns of a row, as 16 pairs.
typedef __m512i load_pairs(const void *values);

LIMN_TARGET_BF16 LIMN_INLINE __m512i pairs_of(__m512 low, __m512 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}
LIMN_TARGET_BF16 LIMN_INLINE __m512i load_f32(const void *p) {
  return pairs_of(_mm512_loadu_ps(p), _mm512_loadu_ps((const float *)p + 16));
}
LIMN_TARGET_BF16 LIMN_INLINE __m512i load_f16(const void *p) {
  const __m256i *halves = p;
  return pairs_of(_mm512_cvtph_ps(_mm256_loadu_si256(halves)), _mm512_cvtph_ps(_mm256_loadu_si256(halves + 1)));
}
LIMN_TARGET_BF16 LIMN_INLINE __m512i load_bf16(const void *p) { return _mm512_loadu_si512(p); }

/// Takes 32 columns at a time; the end of a row goes through a buffer padded with zeros. The same place of the next
/// panel is prefetched into L2: rows of a few kilobytes end before the hardware prefetcher starts.
LIMN_TARGET_BF16 LIMN_INLINE void unpack_with(
  const void *weight, size_t row_bytes, int rows, int columns, uint16_t (*panel)[LIMN_PANEL_ROWS][2], const size_t size,
  load_pairs *load) {
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int k = 0; k < columns; k += 32) {
    const int pairs = columns - k < 32 ? (columns - k + 1) / 2 : 16;
    v16i r[16];
    LIMN_UNROLL (int i = 0; i < 16; i++)
      __builtin_prefetch(row[i] + LIMN_PANEL_ROWS * row_bytes + (size_t)k * size, 0, 2);
    if (columns - k < 32) {
      for (int i = 0; i < 16; i++) {
        _Alignas(64) uint8_t part[128] = {0};
        memcpy(part, row[i] + (size_t)k * size, (size_t)(columns - k) * size);
        r[i] = (v16i)load(part);
      }
    } else {
      LIMN_UNROLL (int i = 0; i < 16; i++) r[i] = (v16i)load(row[i] + (size_t)k * size);
    }
    v_transpose(r);
    if (pairs == 16) {
      LIMN_UNROLL (int i = 0; i < 16; i++) _mm512_storeu_si512(panel[k / 2 + i], (__m512i)r[i]);
    } else {
      for (int i = 0; i < pairs; i++) _mm512_storeu_si512(panel[k / 2 + i], (__m512i)r[i]);
    }
  }
}
#define LIMN_UNPACK(type, size)                                                                            \
  LIMN_TARGET_BF16 static void unpack_##type(                                                              \
    const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) { \
    (void)recipe;                                                                                          \
    unpack_with(weight, row_bytes, rows, columns, panel, size, load_##type);                               \
  }
LIMN_UNPACK(f32, 4)
LIMN_UNPACK(f16, 2)
LIMN_UNPACK(bf16, 2)

/// Any other format, by way of float32.
LIMN_TARGET_BF16 static void unpack_any(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  _Alignas(64) float values[LIMN_PANEL_ROWS][LIMN_BLOCK];
  for (int r = 0; r < LIMN_PANEL_ROWS; r++)
    recipe->dequantize((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes, values[r], columns);
  unpack_f32(recipe, values, sizeof values[0], LIMN_PANEL_ROWS, columns, panel);
}

LIMN_TARGET_BF16 static void prepare_bf16(const float *x, void *prepared, int columns) {
  uint16_t *out = prepared;
  int k = 0;
  for (; k + 16 <= columns; k += 16)
    _mm256_storeu_si256((__m256i *)(out + k), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + k)));
  if (k == columns) return;
  const __mmask16 left = (__mmask16)((1 << (columns - k)) - 1);
  const __m256i last = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(left, x + k));
  memcpy(out + k, &last, (size_t)(columns - k + 1) / 2 * 4);
}

LIMN_TARGET_BF16 static void multiply_bf16(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  if (tokens == 1 && columns == LIMN_BLOCK) {
    tile_of_one(panel, x, acc);
    return;
  }
  const char *xt = x;
  LIMN_TILES(12, tile, columns)
  LIMN_TILES(6, tile, columns)
  LIMN_TILES(4, tile, columns)
  LIMN_TILES(2, tile, columns)
  LIMN_TILES(1, tile, columns)
}

// MARK: AMX: 16 rows, up to 32 tokens

/// A block of columns is one chain.
LIMN_TARGET_AMX static void multiply_amx(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const int whole = columns & ~31;
  if (whole > 0) {
    _Alignas(64) float sums[LIMN_MOST_TOKENS][LIMN_PANEL_ROWS];
    limn_amx_zero();
    for (int k = 0; k < whole; k += 32)
      LIMN_AMX_STEP(_tile_dpbf16ps, (const char *)panel + k * 32, (const char *)x + k * 2, x_stride, tokens);
    limn_amx_store(sums, tokens);
    for (int t = 0; t < tokens; t++) {
      float *a = acc + t * acc_stride;
      _mm512_storeu_ps(a, _mm512_add_ps(_mm512_loadu_ps(a), _mm512_load_ps(sums[t])));
    }
  }
  // The columns that are left go another way: beyond the last one, panel and tokens may hold anything.
  if (whole < columns)
    multiply_bf16(
      (const char *)panel + whole * 32, (const char *)x + whole * 2, x_stride, tokens, acc, acc_stride,
      columns - whole);
}
#endif

int limn_products_bfloat16(limn_recipe *recipe, limn_isa isa, limn_type type) {
  recipe->panel_bytes = sizeof(uint16_t) * LIMN_PANEL_ROWS * LIMN_BLOCK;
  recipe->x_bytes = sizeof(uint16_t) * LIMN_BLOCK;
  recipe->prepare = prepare_scalar;
  recipe->unpack = unpack_scalar;
  recipe->multiply = multiply_scalar;
  if (isa == LIMN_SCALAR) return 1;
#if defined(__x86_64__)
  if (isa == LIMN_AVX512 && limn_has_bf16()) {
    recipe->prepare = prepare_bf16;
    recipe->unpack = type == LIMN_F32    ? unpack_f32
                     : type == LIMN_F16  ? unpack_f16
                     : type == LIMN_BF16 ? unpack_bf16
                                         : unpack_any;
    recipe->multiply = multiply_bf16;
    if (limn_has_amx()) limn_take_amx(recipe, multiply_amx);
    return 1;
  }
#endif
  (void)type;
  return 0;
}
