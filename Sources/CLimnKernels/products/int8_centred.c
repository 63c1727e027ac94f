// AVX2 products for 6-bit weights centred at 32, in groups of 16 columns (Q6_K).
//
//   Σₖ weight · x ≈ d · dx · Σ_g scale[g] · Σ_{k in g} (q − 32) · xq
//
// A 16-bit lane sums 8 columns of a group. Σ (q − 32) · xq fits, since 8 · 32 · 127 < 2¹⁵; Σ q · xq may overflow on the
// way, but modular arithmetic ends at the right value if the lane starts at −32 · Σ xq. So each group needs one
// widening instead of two, and no minimum.
#include "kernels.h"
#include "avx2.h"

#if defined(__x86_64__)
enum { GROUP = 16, GROUPS = LIMN_BLOCK / GROUP, STEPS = GROUP / 4, CENTRE = 32 };

/// Computes the starting values of the lanes, from integers that are prepared already.
LIMN_TARGET_AVX2 static void prepare(const float *x, void *prepared, int columns) {
  limn_x_k *out = prepared;
  limn_prepare_k_16_avx2(x, out, columns);
  for (int g = 0; g < GROUPS; g += 2) {
    // Two groups of four 32-bit words each; the 16-bit lanes of a word are the pairs of its four columns.
    const __m256i q = _mm256_loadu_si256((const __m256i *)(out->q + g * GROUP));
    __m256i sums = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0x4e));
    sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0xb1));
    const __m256i start = _mm256_mullo_epi16(sums, _mm256_set1_epi16(-CENTRE));
    const int32_t two[2] = {_mm256_extract_epi32(start, 0), _mm256_extract_epi32(start, 4)};
    memcpy(out->start[g], two, sizeof two);
  }
}

/// 16 rows in two registers, up to 6 tokens.
LIMN_TARGET_AVX2 LIMN_INLINE void tile(
  const limn_panel_k *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int C) {
  __m256i total[2][LIMN_AVX2_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[0][c] = total[1][c] = _mm256_setzero_si256();
  for (int g = 0; g < GROUPS; g++) {
    __m256i sum[2][LIMN_AVX2_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) {
      int32_t start;
      memcpy(&start, ((const limn_x_k *)(x + c * x_stride))->start[g], sizeof start);
      sum[0][c] = sum[1][c] = _mm256_set1_epi32(start);
    }
    limn_steps_of_avx2((const __m256i *)w->q[g * STEPS], x + g * GROUP, x_stride, sum, 1, STEPS, 2, C);
    LIMN_UNROLL (int v = 0; v < 2; v++) {
      const __m256i scale = limn_scale_words_avx2(w->scale[g] + v * 8);
      LIMN_UNROLL (int c = 0; c < C; c++)
        total[v][c] = _mm256_add_epi32(total[v][c], _mm256_madd_epi16(sum[v][c], scale));
    }
    limn_in_memory(total);
  }
  limn_add_scaled_avx2(total, w->d, &((const limn_x_k *)x)->d, x_stride, acc, acc_stride, C);
}

LIMN_TARGET_AVX2 static void multiply(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  (void)columns;
  const char *xt = x;
  LIMN_TILES(6, tile)
  LIMN_TILES(4, tile)
  LIMN_TILES(2, tile)
  LIMN_TILES(1, tile)
}

void limn_products_centred_avx2(limn_recipe *recipe) {
  recipe->prepare = prepare;
  recipe->multiply = multiply;
}
#endif
