// Decoding in float32: rows are read in memory order, and a single token needs no panel.
//
//   panel: [row][column];  a block's sum = 16 chains, one for each column mod 16, of fused products in ascending order;
//   halves of the chains are added to halves, and blocks one after another
//
// Nothing is transposed, which would be most of the work for few tokens. The bits are the same on every instruction
// set.
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LANES = 16 };

static int whole_lanes(int columns) { return (columns + LANES - 1) & ~(LANES - 1); }

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const float(*w)[LIMN_BLOCK] = panel;
  for (int t = 0; t < tokens; t++) {
    const float *xt = (const float *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      float sum[LANES] = {0};
      for (int k = 0; k < whole_lanes(columns); k++) sum[k % LANES] = fmaf(w[r][k], xt[k], sum[k % LANES]);
      for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) sum[i] += sum[i + n];
      acc[t * acc_stride + r] += sum[0];
    }
  }
}

/// Pads to whole vectors with zeros.
static void prepare(const float *x, void *prepared, int columns) {
  memcpy(prepared, x, (size_t)columns * sizeof(float));
  memset((float *)prepared + columns, 0, (size_t)(whole_lanes(columns) - columns) * sizeof(float));
}

/// Rows past the last one repeat it; their results are dropped.
static void unpack(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  float(*w)[LIMN_BLOCK] = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    recipe->dequantize((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes, w[r], columns);
    memset(w[r] + columns, 0, (size_t)(whole_lanes(columns) - columns) * sizeof(float));
  }
}

// MARK: Vectors: the sums of R rows and C tokens stay in registers

LIMN_INLINE void tile(
  const void *panel, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int R,
  const int C) {
  for (int row = 0; row < LIMN_PANEL_ROWS; row += R) {
    const float(*w)[LIMN_BLOCK] = (const float(*)[LIMN_BLOCK])panel + row;
    v16f sum[LIMN_PANEL_ROWS][LIMN_TILE_TOKENS];
    LIMN_UNROLL (int r = 0; r < R; r++)
      LIMN_UNROLL (int c = 0; c < C; c++) sum[r][c] = v_splat(0);
    for (int k = 0; k < columns; k += LANES)
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const v16f xs = v_load((const float *)(x + c * x_stride) + k);
        LIMN_UNROLL (int r = 0; r < R; r++) sum[r][c] = v_fma(v_load(w[r] + k), xs, sum[r][c]);
      }
    LIMN_UNROLL (int c = 0; c < C; c++)
      LIMN_UNROLL (int r = 0; r < R; r++) acc[c * acc_stride + row + r] += v_sum(sum[r][c]);
  }
}

#define LIMN_MULTIPLY_ROWS(isa, target, ...)                                                                     \
  target static void multiply_##isa(                                                                             \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) { \
    const char *xt = x;                                                                                          \
    __VA_ARGS__                                                                                                  \
  }
#if defined(__x86_64__)
LIMN_MULTIPLY_ROWS(
  avx512, LIMN_TARGET_AVX512,
  LIMN_TILES(6, tile, columns, 4) LIMN_TILES(3, tile, columns, 4) LIMN_TILES(1, tile, columns, 8))

/// v_sum for 4 rows whose upper and lower halves have been added already.
LIMN_TARGET_AVX2 LIMN_INLINE __m128 sum_four_rows(const __m256 sums[4]) {
  __m128 v[4];
  LIMN_UNROLL (int r = 0; r < 4; r++)
    v[r] = _mm_add_ps(_mm256_castps256_ps128(sums[r]), _mm256_extractf128_ps(sums[r], 1));
  const __m128 a = _mm_add_ps(_mm_movelh_ps(v[0], v[1]), _mm_movehl_ps(v[1], v[0]));
  const __m128 b = _mm_add_ps(_mm_movelh_ps(v[2], v[3]), _mm_movehl_ps(v[3], v[2]));
  return _mm_add_ps(_mm_shuffle_ps(a, b, 0x88), _mm_shuffle_ps(a, b, 0xdd));
}

/// The same for AVX2, whose registers hold half a vector of the sums of 4 rows and 3 tokens: first the lower halves,
/// then the upper ones.
LIMN_TARGET_AVX2 LIMN_INLINE void tile_avx2(
  const void *panel, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  for (int row = 0; row < LIMN_PANEL_ROWS; row += 4) {
    const float(*w)[LIMN_BLOCK] = (const float(*)[LIMN_BLOCK])panel + row;
    __m256 half[2][3][4];
    LIMN_UNROLL (int h = 0; h < 2; h++) {
      __m256 sum[3][4] = {0};
      for (int k = 8 * h; k < columns; k += LANES) {
        __m256 xs[3];
        LIMN_UNROLL (int c = 0; c < C; c++) xs[c] = _mm256_loadu_ps((const float *)(x + c * x_stride) + k);
        LIMN_UNROLL (int r = 0; r < 4; r++) {
          const __m256 wr = _mm256_loadu_ps(w[r] + k);
          LIMN_UNROLL (int c = 0; c < C; c++) sum[c][r] = _mm256_fmadd_ps(wr, xs[c], sum[c][r]);
        }
      }
      memcpy(half[h], sum, sizeof sum);
      limn_in_memory(half[h]);  // to free the registers for the other half
    }
    LIMN_UNROLL (int c = 0; c < C; c++) {
      __m256 sums[4];
      LIMN_UNROLL (int r = 0; r < 4; r++) sums[r] = _mm256_add_ps(half[0][c][r], half[1][c][r]);
      float *a = acc + c * acc_stride + row;
      _mm_storeu_ps(a, _mm_add_ps(_mm_loadu_ps(a), sum_four_rows(sums)));
    }
  }
}
LIMN_MULTIPLY_ROWS(
  avx2, LIMN_TARGET_AVX2,
  LIMN_TILES(3, tile_avx2, columns) LIMN_TILES(2, tile_avx2, columns) LIMN_TILES(1, tile_avx2, columns))
#elif defined(__aarch64__)
LIMN_MULTIPLY_ROWS(neon, , LIMN_TILES(2, tile, columns, 2) LIMN_TILES(1, tile, columns, 4))
#endif

// MARK: One token

/// 16 weights of a row, as floats.
typedef v16f limn_load_weights(const void *at);
LIMN_INLINE v16f load_f32(const void *at) { return v_load(at); }
LIMN_INLINE v16f load_f16(const void *at) { return v_load_half(at); }
LIMN_INLINE v16f load_bf16(const void *at) { return (v16f)(v_load_shorts(at) << 16); }

/// One token times `R` rows. Meanwhile the rows that follow them in memory are prefetched, in the same order.
LIMN_INLINE void multiply_run(
  const char *row, size_t row_bytes, ptrdiff_t columns, const float *x, float *y, const size_t size,
  limn_load_weights *load, const int R) {
  const char *next = row + (size_t)R * row_bytes;
  float total[LIMN_PANEL_ROWS] = {0};
  for (ptrdiff_t start = 0; start < columns; start += LIMN_BLOCK) {
    const ptrdiff_t end = start + LIMN_BLOCK < columns ? start + LIMN_BLOCK : columns;
    v16f sum[LIMN_PANEL_ROWS];
    LIMN_UNROLL (int r = 0; r < R; r++) sum[r] = v_splat(0);
    for (ptrdiff_t k = start; k < end; k += LANES) {
      const v16f xs = v_load(x + k);
      LIMN_UNROLL (int r = 0; r < R; r++) {
        sum[r] = v_fma(load(row + (size_t)r * row_bytes + (size_t)k * size), xs, sum[r]);
        // Once per cache line.
        if ((size_t)r % (64 / (LANES * size)) == 0)
          __builtin_prefetch(next + (size_t)k * R * size + (size_t)r * LANES * size, 0, 2);
      }
    }
    LIMN_UNROLL (int r = 0; r < R; r++) total[r] += v_sum(sum[r]);
  }
  LIMN_UNROLL (int r = 0; r < R; r++) y[r] = total[r];
}

LIMN_INLINE void multiply_one(const limn_few_job *j, const size_t size, limn_load_weights *load) {
  const char *w = j->weight;
  ptrdiff_t r = 0;
  for (; r + 4 <= j->rows; r += 4)
    multiply_run(w + (size_t)r * j->row_bytes, j->row_bytes, j->columns, j->x, j->y + r, size, load, 4);
  for (; r < j->rows; r++)
    multiply_run(w + (size_t)r * j->row_bytes, j->row_bytes, j->columns, j->x, j->y + r, size, load, 1);
}

/// Defines one_type for every instruction set. For the scalar one it is NULL, which LIMN_PICK needs to name: the
/// reference uses panels even for one token.
#define LIMN_ONE_ROWS(type, size)                                                                   \
  LIMN_INLINE void one_##type##_body(const limn_few_job *j) { multiply_one(j, size, load_##type); } \
  LIMN_INSTANCES(one_##type, (const limn_few_job *j), (j))                                          \
  static limn_multiply_few *const one_##type##_scalar = NULL;
LIMN_ONE_ROWS(f32, 4)
LIMN_ONE_ROWS(f16, 2)
LIMN_ONE_ROWS(bf16, 2)

int limn_products_rows(limn_recipe *recipe, limn_isa isa, limn_type type) {
  recipe->panel_bytes = sizeof(float) * LIMN_PANEL_ROWS * LIMN_BLOCK;
  recipe->x_bytes = sizeof(float) * LIMN_BLOCK;
  recipe->prepare = prepare;
  recipe->unpack = unpack;
  recipe->multiply = LIMN_PICK(isa, multiply);
  if (type == LIMN_F32) recipe->multiply_few = LIMN_PICK(isa, one_f32);
  if (type == LIMN_F16) recipe->multiply_few = LIMN_PICK(isa, one_f16);
  if (type == LIMN_BF16) recipe->multiply_few = LIMN_PICK(isa, one_bf16);
  recipe->few_tokens = recipe->multiply_few != NULL;
  return 1;
}
