// Products of int8 panels with a float scale for every 32 columns (limn_panel_32):
//
//   Σₖ weight · x ≈ Σ_g d[g] · dx[g] · (Σ_{k in g} q · xq − offset · Σ_{k in g} xq)
//
// The bracket is exact in int32, and groups are added in ascending order, so every instruction set computes the same
// bits.
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

_Static_assert(sizeof(limn_panel_32) == 4096 + 512 + 64, "panel of 256 columns");
_Static_assert(sizeof(limn_x_32) == 320, "five cache lines of activations");

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const limn_panel_32 *w = panel;
  for (int t = 0; t < tokens; t++) {
    const limn_x_32 *xt = (const limn_x_32 *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      float *a = acc + t * acc_stride + r;
      for (int g = 0; g < columns / 32; g++) {
        int32_t sum = -w->offset * xt->sums[g];
        for (int k = g * 32; k < (g + 1) * 32; k++) sum += w->q[k / 4][r][k % 4] * xt->q[k];
        *a = fmaf(w->d[g][r] * xt->d[g], (float)sum, *a);
      }
    }
  }
}

/// A group of zeros, where values cannot be divided by their largest magnitude.
LIMN_INLINE void prepare_zeros(float largest, limn_x_32 *out, int g) {
  memset(out->q + g * 32, 0, 32);
  out->d[g] = largest * 0;
  out->sums[g] = 0;
}

/// Scales the largest magnitude of a group to 127 and rounds to nearest even. A group of (nearly) zeros becomes zeros;
/// if a value is not finite, the scale is NaN.
static void prepare_scalar(const float *x, void *prepared, int columns) {
  limn_x_32 *out = prepared;
  for (int g = 0; g < columns / 32; g++) {
    const float largest = largest_magnitude(x + g * 32, 32);
    if (!is_scalable(largest)) {
      prepare_zeros(largest, out, g);
      continue;
    }
    const float inverse = 127 / largest;
    out->d[g] = largest / 127;
    int32_t sum = 0;
    for (int k = g * 32; k < (g + 1) * 32; k++) sum += out->q[k] = (int8_t)(int32_t)rintf(x[k] * inverse);
    out->sums[g] = sum;
  }
}

// MARK: Vectors

LIMN_INLINE void prepare_body(const float *x, void *prepared, int columns) {
  limn_x_32 *out = prepared;
  for (int g = 0; g < columns / 32; g++) {
    const v16f low = v_load(x + g * 32), high = v_load(x + g * 32 + 16);
    const float largest = v_largest_magnitude(__builtin_elementwise_max(v_magnitude(low), v_magnitude(high)));
    if (!is_scalable(largest)) {
      prepare_zeros(largest, out, g);
      continue;
    }
    const float inverse = 127 / largest;
    out->d[g] = largest / 127;
    const v16i q = __builtin_convertvector(__builtin_elementwise_roundeven(low * inverse), v16i);
    const v16i r = __builtin_convertvector(__builtin_elementwise_roundeven(high * inverse), v16i);
    *(v16b_unaligned *)(out->q + g * 32) = __builtin_convertvector(q, v16b_unaligned);
    *(v16b_unaligned *)(out->q + g * 32 + 16) = __builtin_convertvector(r, v16b_unaligned);
    out->sums[g] = v_sum_int(q + r);
  }
}
LIMN_INSTANCES(prepare, (const float *x, void *prepared, int columns), (x, prepared, columns))

#if defined(__x86_64__)
// MARK: AVX-512 VNNI

LIMN_TARGET_VNNI LIMN_INLINE void tile_vnni(
  const limn_panel_32 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  __m512 a[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) a[c] = _mm512_loadu_ps(acc + c * acc_stride);
  const __m512i offset = _mm512_set1_epi32(-w->offset);
  for (int g = 0; g < columns / 32; g++) {
    __m512i sum[LIMN_TILE_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const limn_x_32 *xt = (const limn_x_32 *)(x + c * x_stride);
      sum[c] = _mm512_mullo_epi32(offset, _mm512_set1_epi32(xt->sums[g]));
    }
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
    const __m512 d = _mm512_loadu_ps(w->d[g]);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const limn_x_32 *xt = (const limn_x_32 *)(x + c * x_stride);
      a[c] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(xt->d[g])), _mm512_cvtepi32_ps(sum[c]), a[c]);
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

// MARK: AVX2: 8 rows, up to 6 tokens

/// Σ q · xq of a group, for q so small that 16 bits hold `steps` sums of two products.
LIMN_TARGET_AVX2 LIMN_INLINE void sums_avx2(
  const __m256i *q, const char *x, size_t x_stride, __m256i sum[LIMN_AVX2_TOKENS], const int steps, const int C) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int first = 0; first < 8; first += steps) {
    __m256i part[2][LIMN_AVX2_TOKENS];
    limn_steps_of_avx2(q + 2 * first, x + 4 * first, x_stride, part, 0, steps, 1, C);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m256i wide = _mm256_madd_epi16(part[0][c], ones);
      sum[c] = first == 0 ? wide : _mm256_add_epi32(sum[c], wide);
    }
  }
}

/// Σ (q − offset) · xq of a group, multiplied as |w| · ±x, so that pairs stay within 16 bits (128 · 127 · 2 = 32,512).
LIMN_TARGET_AVX2 LIMN_INLINE void signed_sums_avx2(
  const __m256i *q, const char *x, size_t x_stride, __m256i sum[LIMN_AVX2_TOKENS], __m256i offset, const int C) {
  const __m256i ones = _mm256_set1_epi16(1);
  LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm256_setzero_si256();
  _Pragma("clang loop unroll(disable)") for (int k = 0; k < 8; k++, q += 2, x += 4) {
    const __m256i w = _mm256_sub_epi8(_mm256_loadu_si256(q), offset), magnitude = _mm256_abs_epi8(w);
    const char *x3 = limn_token_3_avx2(x, x_stride);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m256i signs = _mm256_sign_epi8(limn_token_avx2(x, x3, x_stride, c), w);
      const __m256i pairs = _mm256_maddubs_epi16(magnitude, signs);
      sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(pairs, ones));
    }
  }
}

/// `steps` is 0 if q has all 8 bits.
LIMN_TARGET_AVX2 LIMN_INLINE void tile_avx2(
  const limn_panel_32 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int steps,
  const int C) {
  for (int row = 0; row < LIMN_PANEL_ROWS; row += 8) {
    __m256 a[LIMN_AVX2_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) a[c] = _mm256_loadu_ps(acc + c * acc_stride + row);
    for (int g = 0; g < columns / 32; g++) {
      const __m256i *q = (const __m256i *)w->q[g * 8][row];
      __m256i sum[LIMN_AVX2_TOKENS];
      if (steps)
        sums_avx2(q, x + g * 32, x_stride, sum, steps, C);
      else
        signed_sums_avx2(q, x + g * 32, x_stride, sum, _mm256_set1_epi8((char)w->offset), C);
      const __m256 d = _mm256_loadu_ps(w->d[g] + row);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const limn_x_32 *xt = (const limn_x_32 *)(x + c * x_stride);
        if (steps) sum[c] = _mm256_sub_epi32(sum[c], _mm256_set1_epi32(w->offset * xt->sums[g]));
        a[c] = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(xt->d[g])), _mm256_cvtepi32_ps(sum[c]), a[c]);
      }
    }
    LIMN_UNROLL (int c = 0; c < C; c++) _mm256_storeu_ps(acc + c * acc_stride + row, a[c]);
  }
}

#define LIMN_MULTIPLY_AVX2(steps)                                                                                \
  LIMN_TARGET_AVX2 static void multiply_##steps##_avx2(                                                          \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) { \
    const char *xt = x;                                                                                          \
    LIMN_TILES(6, tile_avx2, columns, steps)                                                                     \
    LIMN_TILES(4, tile_avx2, columns, steps)                                                                     \
    LIMN_TILES(2, tile_avx2, columns, steps)                                                                     \
    LIMN_TILES(1, tile_avx2, columns, steps)                                                                     \
  }
LIMN_MULTIPLY_AVX2(0)
LIMN_MULTIPLY_AVX2(4)
LIMN_MULTIPLY_AVX2(8)

// MARK: AVX-VNNI: the same tile, whatever q

LIMN_TARGET_AVX_VNNI LIMN_INLINE void tile_avx_vnni(
  const limn_panel_32 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  for (int row = 0; row < LIMN_PANEL_ROWS; row += 8) {
    __m256 a[LIMN_AVX2_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) a[c] = _mm256_loadu_ps(acc + c * acc_stride + row);
    for (int g = 0; g < columns / 32; g++) {
      __m256i sum[LIMN_AVX2_TOKENS];
      LIMN_UNROLL (int c = 0; c < C; c++)
        sum[c] = _mm256_set1_epi32(-w->offset * ((const limn_x_32 *)(x + c * x_stride))->sums[g]);
      const char *x0 = x + g * 32, *x3 = limn_token_3_avx2(x0, x_stride);
      LIMN_UNROLL (int k = 0; k < 8; k++) {
        const __m256i q = _mm256_loadu_si256((const __m256i *)w->q[g * 8 + k][row]);
        LIMN_UNROLL (int c = 0; c < C; c++)
          sum[c] = _mm256_dpbusd_avx_epi32(sum[c], q, limn_token_avx2(x0 + 4 * k, x3 + 4 * k, x_stride, c));
        limn_in_order();
      }
      const __m256 d = _mm256_loadu_ps(w->d[g] + row);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(((const limn_x_32 *)(x + c * x_stride))->d[g]));
        a[c] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum[c]), a[c]);
      }
    }
    LIMN_UNROLL (int c = 0; c < C; c++) _mm256_storeu_ps(acc + c * acc_stride + row, a[c]);
  }
}

LIMN_TARGET_AVX_VNNI static void multiply_avx_vnni(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  const char *xt = x;
  LIMN_TILES(6, tile_avx_vnni, columns)
  LIMN_TILES(4, tile_avx_vnni, columns)
  LIMN_TILES(2, tile_avx_vnni, columns)
  LIMN_TILES(1, tile_avx_vnni, columns)
}
#endif

// MARK: The recipe

void limn_products_int8_32(limn_recipe *recipe, limn_isa isa, int largest_q) {
  recipe->panel_bytes = sizeof(limn_panel_32);
  recipe->x_bytes = sizeof(limn_x_32);
  recipe->prepare = LIMN_PICK(isa, prepare);
  recipe->multiply = multiply_scalar;
#if defined(__x86_64__)
  const int steps = limn_steps_avx2(largest_q);
  if (isa == LIMN_AVX512 && limn_has_vnni())
    recipe->multiply = multiply_vnni;
  else if (isa == LIMN_AVX2 && limn_has_avx_vnni())
    recipe->multiply = multiply_avx_vnni;
  else if (isa == LIMN_AVX512 || isa == LIMN_AVX2)
    recipe->multiply = steps >= 8 ? multiply_8_avx2 : steps >= 4 ? multiply_4_avx2 : multiply_0_avx2;
#elif defined(__aarch64__)
  if (isa == LIMN_NEON) recipe->multiply = limn_multiply_32_neon;
#endif
  (void)largest_q;
}
