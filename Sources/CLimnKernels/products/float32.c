// Products of float32 panels [column][row].
//
// An output is a sum of chains of 64 columns; a chain is a series of fused multiply-adds in ascending order. A lane is
// a row, so every instruction set computes the same bits. With several chains, the sums of a single token can be
// computed four at a time.
#include "kernels.h"
#include "simd.h"

enum { CHAIN = 64 };

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const float(*w)[LIMN_PANEL_ROWS] = panel;
  for (int t = 0; t < tokens; t++) {
    const float *xt = (const float *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      for (int start = 0; start < columns; start += CHAIN) {
        float sum = 0;
        for (int k = start; k < columns && k < start + CHAIN; k++) sum = fmaf(w[k][r], xt[k], sum);
        acc[t * acc_stride + r] += sum;
      }
    }
  }
}

static void transpose_scalar(const float (*rows)[LIMN_BLOCK], int columns, float (*panel)[LIMN_PANEL_ROWS]) {
  for (int k = 0; k < columns; k++)
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) panel[k][r] = rows[r][k];
}

// MARK: Vectors

/// C is a constant wherever this is inlined, so that the sums stay in registers.
LIMN_INLINE void tile(
  const char *panel, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  v16f total[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[c] = v_load(acc + c * acc_stride);
  for (int start = 0; start < columns; start += CHAIN) {
    const int end = start + CHAIN < columns ? start + CHAIN : columns;
    v16f sum[LIMN_TILE_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = v_splat(0);
    for (int k = start; k < end; k++) {
      const v16f w = v_load((const float *)panel + k * LIMN_PANEL_ROWS);
      LIMN_UNROLL (int c = 0; c < C; c++)
        sum[c] = v_fma(w, v_splat(*(const float *)(x + c * x_stride + k * sizeof(float))), sum[c]);
    }
    LIMN_UNROLL (int c = 0; c < C; c++) total[c] += sum[c];
  }
  LIMN_UNROLL (int c = 0; c < C; c++) v_store(acc + c * acc_stride, total[c]);
}

/// One token and a whole block: the four chains run side by side, since each step of a chain waits for the previous
/// one.
LIMN_INLINE void tile_of_one(const float *panel, const float *x, float *acc) {
  v16f sum[LIMN_BLOCK / CHAIN] = {0}, total = v_load(acc);
  for (int k = 0; k < CHAIN; k++)
    LIMN_UNROLL (int i = 0; i < LIMN_BLOCK / CHAIN; i++) {
      const int at = i * CHAIN + k;
      sum[i] = v_fma(v_load(panel + at * LIMN_PANEL_ROWS), v_splat(x[at]), sum[i]);
    }
  LIMN_UNROLL (int i = 0; i < LIMN_BLOCK / CHAIN; i++) total += sum[i];
  v_store(acc, total);
}

/// The number of tokens at a time is what 16 registers of 8 floats (AVX2), or 32 of 4 (NEON), have room for.
LIMN_INLINE void multiply_body(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  if (tokens == 1 && columns == LIMN_BLOCK) {
    tile_of_one(panel, x, acc);
    return;
  }
  const char *xt = x;
#if defined(__x86_64__)
  LIMN_TILES(6, tile, columns)
#else
  LIMN_TILES(4, tile, columns)
#endif
  LIMN_TILES(3, tile, columns)
  LIMN_TILES(1, tile, columns)
}
LIMN_INSTANCES(
  multiply, (const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns),
  (panel, x, x_stride, tokens, acc, acc_stride, columns))

#if defined(__x86_64__)
/// 32 registers of 16 floats hold 12 tokens.
LIMN_TARGET_AVX512 static void multiply_wide(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  if (tokens == LIMN_TILE_TOKENS)
    tile(panel, x, x_stride, acc, acc_stride, columns, LIMN_TILE_TOKENS);
  else
    multiply_avx512(panel, x, x_stride, tokens, acc, acc_stride, columns);
}
#endif

LIMN_INLINE void transpose_body(const float (*rows)[LIMN_BLOCK], int columns, float (*panel)[LIMN_PANEL_ROWS]) {
  int k = 0;
  for (; k + 16 <= columns; k += 16) {
    v16i r[16];
    LIMN_UNROLL (int i = 0; i < 16; i++) r[i] = v_load_bytes(rows[i] + k);
    v_transpose(r);
    LIMN_UNROLL (int i = 0; i < 16; i++) v_store_bytes(panel[k + i], r[i]);
  }
  for (; k < columns; k++)
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) panel[k][r] = rows[r][k];
}
LIMN_INSTANCES(
  transpose, (const float (*rows)[LIMN_BLOCK], int columns, float (*panel)[LIMN_PANEL_ROWS]), (rows, columns, panel))

// MARK: The recipe

static void prepare(const float *x, void *prepared, int columns) {
  memcpy(prepared, x, (size_t)columns * sizeof(float));
}

/// Rows past the last one repeat it; their results are dropped.
LIMN_INLINE void dequantize_rows(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, float (*values)[LIMN_BLOCK]) {
  for (int r = 0; r < LIMN_PANEL_ROWS; r++)
    recipe->dequantize((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes, values[r], columns);
}

#define LIMN_UNPACK(isa)                                                                                   \
  static void unpack_##isa(                                                                                \
    const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) { \
    _Alignas(64) float values[LIMN_PANEL_ROWS][LIMN_BLOCK];                                                \
    dequantize_rows(recipe, weight, row_bytes, rows, columns, values);                                     \
    transpose_##isa((const float(*)[LIMN_BLOCK])values, columns, panel);                                   \
  }
LIMN_UNPACK(scalar)
#if defined(__x86_64__)
LIMN_UNPACK(avx2)
LIMN_UNPACK(avx512)
#elif defined(__aarch64__)
LIMN_UNPACK(neon)
#endif

void limn_products_float32(limn_recipe *recipe, limn_isa isa) {
  recipe->panel_bytes = sizeof(float) * LIMN_PANEL_ROWS * LIMN_BLOCK;
  recipe->x_bytes = sizeof(float) * LIMN_BLOCK;
  recipe->prepare = prepare;
  recipe->unpack = LIMN_PICK(isa, unpack);
  recipe->multiply = LIMN_PICK(isa, multiply);
#if defined(__x86_64__)
  if (isa == LIMN_AVX512) recipe->multiply = multiply_wide;
#endif
}
