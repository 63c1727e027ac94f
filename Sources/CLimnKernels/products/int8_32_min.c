// Products of int8 panels with a float scale and a float minimum for every 32 columns (Q4_1, Q5_1):
//
//   Σₖ weight · x ≈ Σ_g d[g] · dx[g] · (Σ_{k in g} q · xq) + m[g] · (dx[g] · Σ_{k in g} xq)
//
// Both sums over g are exact in int32, and groups are added in ascending order, so every instruction set computes the
// same bits. Activations are those of int8_32.c.
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

_Static_assert(sizeof(limn_panel_32_min) == 4096 + 512 + 512, "panel of 256 columns");

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const limn_panel_32_min *w = panel;
  for (int t = 0; t < tokens; t++) {
    const limn_x_32 *xt = (const limn_x_32 *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      float *a = acc + t * acc_stride + r;
      for (int g = 0; g < columns / 32; g++) {
        int32_t sum = 0;
        for (int k = g * 32; k < (g + 1) * 32; k++) sum += w->q[k / 4][r][k % 4] * xt->q[k];
        *a = fmaf(w->d[g][r] * xt->d[g], (float)sum, *a);
        *a = fmaf(w->m[g][r], xt->d[g] * (float)xt->sums[g], *a);
      }
    }
  }
}

#if defined(__x86_64__)
// MARK: AVX-512 VNNI

LIMN_TARGET_VNNI LIMN_INLINE void tile_vnni(
  const limn_panel_32_min *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  __m512 a[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) a[c] = _mm512_loadu_ps(acc + c * acc_stride);
  for (int g = 0; g < columns / 32; g++) {
    __m512i sum[LIMN_TILE_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm512_setzero_si512();
    LIMN_UNROLL (int k = 0; k < 8; k++) {
      const __m512i q = _mm512_loadu_si512(w->q[g * 8 + k]);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const limn_x_32 *xt = (const limn_x_32 *)(x + c * x_stride);
        int32_t four;
        memcpy(&four, xt->q + g * 32 + k * 4, 4);
        sum[c] = _mm512_dpbusd_epi32(sum[c], q, _mm512_set1_epi32(four));
      }
      limn_in_order();
    }
    const __m512 d = _mm512_loadu_ps(w->d[g]), m = _mm512_loadu_ps(w->m[g]);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const limn_x_32 *xt = (const limn_x_32 *)(x + c * x_stride);
      a[c] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(xt->d[g])), _mm512_cvtepi32_ps(sum[c]), a[c]);
      a[c] = _mm512_fmadd_ps(m, _mm512_set1_ps(xt->d[g] * (float)xt->sums[g]), a[c]);
    }
  }
  LIMN_UNROLL (int c = 0; c < C; c++) _mm512_storeu_ps(acc + c * acc_stride, a[c]);
}

LIMN_TARGET_VNNI static void multiply_vnni(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const char *xt = x;
  LIMN_TILES(12, tile_vnni, columns)
  LIMN_TILES(8, tile_vnni, columns)
  LIMN_TILES(4, tile_vnni, columns)
  LIMN_TILES(2, tile_vnni, columns)
  LIMN_TILES(1, tile_vnni, columns)
}

// MARK: AVX2: 8 rows, up to 6 tokens; 16 bits hold 4 sums of two products, since q < 32

LIMN_TARGET_AVX2 LIMN_INLINE void tile_avx2(
  const limn_panel_32_min *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int row = 0; row < LIMN_PANEL_ROWS; row += 8) {
    __m256 a[LIMN_AVX2_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) a[c] = _mm256_loadu_ps(acc + c * acc_stride + row);
    for (int g = 0; g < columns / 32; g++) {
      __m256i low[2][LIMN_AVX2_TOKENS], high[2][LIMN_AVX2_TOKENS];
      limn_steps_of_avx2((const __m256i *)w->q[g * 8][row], x + g * 32, x_stride, low, 0, 4, 1, C);
      limn_steps_of_avx2((const __m256i *)w->q[g * 8 + 4][row], x + g * 32 + 16, x_stride, high, 0, 4, 1, C);
      const __m256 d = _mm256_loadu_ps(w->d[g] + row), m = _mm256_loadu_ps(w->m[g] + row);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const limn_x_32 *xt = (const limn_x_32 *)(x + c * x_stride);
        const __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(low[0][c], ones), _mm256_madd_epi16(high[0][c], ones));
        a[c] = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(xt->d[g])), _mm256_cvtepi32_ps(sum), a[c]);
        a[c] = _mm256_fmadd_ps(m, _mm256_set1_ps(xt->d[g] * (float)xt->sums[g]), a[c]);
      }
    }
    LIMN_UNROLL (int c = 0; c < C; c++) _mm256_storeu_ps(acc + c * acc_stride + row, a[c]);
  }
}

LIMN_TARGET_AVX2 static void multiply_avx2(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const char *xt = x;
  LIMN_TILES(6, tile_avx2, columns)
  LIMN_TILES(4, tile_avx2, columns)
  LIMN_TILES(2, tile_avx2, columns)
  LIMN_TILES(1, tile_avx2, columns)
}
#endif

// MARK: The recipe

void limn_products_int8_32_min(limn_recipe *recipe, limn_isa isa) {
  limn_products_int8_32(recipe, isa, 31);
  recipe->panel_bytes = sizeof(limn_panel_32_min);
  recipe->multiply = multiply_scalar;
#if defined(__x86_64__)
  if (isa == LIMN_AVX512 && limn_has_vnni())
    recipe->multiply = multiply_vnni;
  else if (isa == LIMN_AVX512 || isa == LIMN_AVX2)
    recipe->multiply = multiply_avx2;
#endif
}
