// Products of int8 panels with integer scales, in blocks of 256 columns (limn_panel_k: the K formats, IQ1 to IQ3, TQ):
//
//   Σₖ weight · x ≈ d · dx · Σ_g scale[g] · (Σ_{k in g} q · xq)  −  dmin · dx · Σ_g min[g] · (Σ_{k in g} xq)
//
// Both sums over g are exact in int32, and only the two products with floats round, so every instruction set computes
// the same bits.
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

_Static_assert(sizeof(limn_panel_k) == 4096 + 1024 + 512 + 128, "panel of 256 columns");
_Static_assert(sizeof(limn_x_k) == 384, "six cache lines of activations");

// MARK: The scalar reference

LIMN_INLINE void multiply_reference(
  const limn_panel_k *w, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, const int group) {
  for (int t = 0; t < tokens; t++) {
    const limn_x_k *xt = (const limn_x_k *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      int32_t total = 0, low = 0;
      for (int g = 0; g < LIMN_BLOCK / group; g++) {
        int32_t sum = 0;
        for (int k = g * group; k < (g + 1) * group; k++) sum += w->q[k / 4][r][k % 4] * xt->q[k];
        total += w->scale[g][r] * sum;
        low += w->min[g / 2][r][g % 2] * xt->sums[g];
      }
      float *a = acc + t * acc_stride + r;
      *a = fmaf(w->d[r] * xt->d, (float)total, *a);
      *a = fmaf(-(w->dmin[r] * xt->d), (float)low, *a);
    }
  }
}

static void multiply_16_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  (void)columns;
  multiply_reference(panel, x, x_stride, tokens, acc, acc_stride, 16);
}
static void multiply_32_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  (void)columns;
  multiply_reference(panel, x, x_stride, tokens, acc, acc_stride, 32);
}

/// Scales the largest magnitude of a block to 127 and rounds to nearest even. A block of (nearly) zeros becomes zeros;
/// if a value is not finite, the scale is NaN.
LIMN_INLINE void prepare_reference(const float *x, limn_x_k *out, const int group) {
  const float largest = largest_magnitude(x, LIMN_BLOCK);
  if (!is_scalable(largest)) {
    *out = (limn_x_k){.d = largest * 0};
    return;
  }
  const float inverse = 127 / largest;
  out->d = largest / 127;
  for (int g = 0; g < LIMN_BLOCK / group; g++) {
    int sum = 0;
    for (int k = g * group; k < (g + 1) * group; k++) sum += out->q[k] = (int8_t)(int32_t)rintf(x[k] * inverse);
    out->sums[g] = (int16_t)sum;
  }
}
static void prepare_16_scalar(const float *x, void *prepared, int columns) {
  (void)columns;
  prepare_reference(x, prepared, 16);
}
static void prepare_32_scalar(const float *x, void *prepared, int columns) {
  float part[LIMN_BLOCK];
  prepare_reference(limn_whole_block(x, columns, part), prepared, 32);
}

// MARK: Vectors

LIMN_INLINE void prepare_vectors(const float *x, limn_x_k *out, const int group) {
  v16i magnitudes = {0};
  for (int k = 0; k < LIMN_BLOCK; k += 16)
    magnitudes = __builtin_elementwise_max(magnitudes, v_magnitude(v_load(x + k)));
  const float largest = v_largest_magnitude(magnitudes);
  if (!is_scalable(largest)) {
    *out = (limn_x_k){.d = largest * 0};
    return;
  }
  const float inverse = 127 / largest;
  out->d = largest / 127;
  for (int k = 0; k < LIMN_BLOCK; k += group) {
    v16i sum = {0};
    for (int i = k; i < k + group; i += 16) {
      const v16i q = __builtin_convertvector(__builtin_elementwise_roundeven(v_load(x + i) * inverse), v16i);
      *(v16b_unaligned *)(out->q + i) = __builtin_convertvector(q, v16b_unaligned);
      sum += q;
    }
    out->sums[k / group] = (int16_t)v_sum_int(sum);
  }
}
LIMN_INLINE void prepare_16_body(const float *x, void *prepared, int columns) {
  (void)columns;
  prepare_vectors(x, prepared, 16);
}
LIMN_INLINE void prepare_32_body(const float *x, void *prepared, int columns) {
  float part[LIMN_BLOCK];
  prepare_vectors(limn_whole_block(x, columns, part), prepared, 32);
}
LIMN_INSTANCES(prepare_16, (const float *x, void *prepared, int columns), (x, prepared, columns))
LIMN_INSTANCES(prepare_32, (const float *x, void *prepared, int columns), (x, prepared, columns))

#if defined(__x86_64__)
LIMN_TARGET_AVX2 void limn_prepare_k_16_avx2(const float *x, limn_x_k *prepared, int columns) {
  prepare_16_body(x, prepared, columns);
}

// MARK: AVX-512 VNNI: 16 rows in a register, up to 12 tokens

LIMN_TARGET_VNNI LIMN_INLINE void tile_vnni(
  const limn_panel_k *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group, const int C) {
  __m512i total[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[c] = _mm512_setzero_si512();
  for (int g = 0; g < LIMN_BLOCK / group; g++) {
    __m512i sum[LIMN_TILE_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm512_setzero_si512();
    LIMN_UNROLL (int k = 0; k < group / 4; k++) {
      const __m512i q = _mm512_loadu_si512(w->q[g * group / 4 + k]);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const limn_x_k *xt = (const limn_x_k *)(x + c * x_stride);
        int32_t four;
        memcpy(&four, xt->q + g * group + k * 4, 4);
        sum[c] = _mm512_dpbusd_epi32(sum[c], q, _mm512_set1_epi32(four));
      }
      limn_in_order();
    }
    const __m512i scale = _mm512_loadu_si512(w->scale[g]);
    LIMN_UNROLL (int c = 0; c < C; c++) total[c] = _mm512_add_epi32(total[c], _mm512_mullo_epi32(sum[c], scale));
  }
  const __m512 d = _mm512_loadu_ps(w->d), dmin = _mm512_loadu_ps(w->dmin);
  LIMN_UNROLL (int c = 0; c < C; c++) {
    const limn_x_k *xt = (const limn_x_k *)(x + c * x_stride);
    __m512i low = _mm512_setzero_si512();
    LIMN_UNROLL (int g = 0; g < LIMN_BLOCK / group / 2; g++) {
      int32_t pair;
      memcpy(&pair, xt->sums + 2 * g, 4);
      low = _mm512_dpwssd_epi32(low, _mm512_loadu_si512(w->min[g]), _mm512_set1_epi32(pair));
    }
    const __m512 dx = _mm512_set1_ps(xt->d);
    __m512 a = _mm512_loadu_ps(acc + c * acc_stride);
    a = _mm512_fmadd_ps(_mm512_mul_ps(d, dx), _mm512_cvtepi32_ps(total[c]), a);
    a = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), _mm512_cvtepi32_ps(low), a);
    _mm512_storeu_ps(acc + c * acc_stride, a);
  }
}

// MARK: AVX2: 8 or 16 rows in one or two registers, up to 6 tokens
//
// Multiplying 16-bit sums by their scale also widens them. Where a sum consists of few steps, the totals are touched
// often and must stay in registers, too, which leaves room for 8 rows only.

enum { WIDE_STEPS = 4 };

/// Rows from `row` on, 8 for each of `vectors`.
LIMN_TARGET_AVX2 LIMN_INLINE void rows_avx2(
  const limn_panel_k *w, const int row, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group,
  const int steps, const int vectors, const int C) {
  __m256i total[2][LIMN_AVX2_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[0][c] = total[1][c] = _mm256_setzero_si256();
  for (int g = 0; g < LIMN_BLOCK / group; g++) {
    __m256i scale[2];
    LIMN_UNROLL (int v = 0; v < vectors; v++) scale[v] = limn_scale_words_avx2(w->scale[g] + row + v * 8);
    for (int first = 0; first < group / 4; first += steps) {
      __m256i sum[2][LIMN_AVX2_TOKENS];
      const __m256i *q = (const __m256i *)w->q[g * group / 4 + first][row];
      const char *xs = x + g * group + first * 4;
      limn_steps_of_avx2(q, xs, x_stride, sum, 0, steps, vectors, C);
      LIMN_UNROLL (int c = 0; c < C; c++)
        LIMN_UNROLL (int v = 0; v < vectors; v++)
          total[v][c] = _mm256_add_epi32(total[v][c], _mm256_madd_epi16(sum[v][c], scale[v]));
      if (vectors == 2) limn_in_memory(total);
    }
  }
  LIMN_UNROLL (int c = 0; c < C; c++) {
    const limn_x_k *xt = (const limn_x_k *)(x + c * x_stride);
    __m256i low[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    LIMN_UNROLL (int g = 0; g < LIMN_BLOCK / group / 2; g++) {
      int32_t pair;
      memcpy(&pair, xt->sums + 2 * g, 4);
      const __m256i sums = _mm256_set1_epi32(pair);
      LIMN_UNROLL (int v = 0; v < vectors; v++) {
        const __m256i min = _mm256_loadu_si256((const __m256i *)w->min[g][row + v * 8]);
        low[v] = _mm256_add_epi32(low[v], _mm256_madd_epi16(min, sums));
      }
    }
    const __m256 dx = _mm256_set1_ps(xt->d);
    LIMN_UNROLL (int v = 0; v < vectors; v++) {
      const __m256 d = _mm256_loadu_ps(w->d + row + v * 8), dmin = _mm256_loadu_ps(w->dmin + row + v * 8);
      float *at = acc + c * acc_stride + row + v * 8;
      __m256 a = _mm256_loadu_ps(at);
      a = _mm256_fmadd_ps(_mm256_mul_ps(d, dx), _mm256_cvtepi32_ps(total[v][c]), a);
      a = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, dx), _mm256_cvtepi32_ps(low[v]), a);
      _mm256_storeu_ps(at, a);
    }
  }
}

LIMN_TARGET_AVX2 LIMN_INLINE void tile_avx2(
  const limn_panel_k *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group,
  const int steps, const int C) {
  if (steps >= WIDE_STEPS) {
    rows_avx2(w, 0, x, x_stride, acc, acc_stride, group, steps, 2, C);
  } else {
    rows_avx2(w, 0, x, x_stride, acc, acc_stride, group, steps, 1, C);
    rows_avx2(w, 8, x, x_stride, acc, acc_stride, group, steps, 1, C);
  }
}

#define LIMN_MULTIPLY_VNNI(group)                                                                                \
  LIMN_TARGET_VNNI static void multiply_##group##_vnni(                                                          \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) { \
    (void)columns;                                                                                               \
    const char *xt = x;                                                                                          \
    LIMN_TILES(12, tile_vnni, group)                                                                             \
    LIMN_TILES(8, tile_vnni, group)                                                                              \
    LIMN_TILES(4, tile_vnni, group)                                                                              \
    LIMN_TILES(2, tile_vnni, group)                                                                              \
    LIMN_TILES(1, tile_vnni, group)                                                                              \
  }
LIMN_MULTIPLY_VNNI(16)
LIMN_MULTIPLY_VNNI(32)
#define LIMN_MULTIPLY_AVX2(group, steps)                                                                         \
  LIMN_TARGET_AVX2 static void multiply_##group##_##steps##_avx2(                                                \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) { \
    (void)columns;                                                                                               \
    const char *xt = x;                                                                                          \
    LIMN_TILES(6, tile_avx2, group, steps)                                                                       \
    LIMN_TILES(4, tile_avx2, group, steps)                                                                       \
    LIMN_TILES(2, tile_avx2, group, steps)                                                                       \
    LIMN_TILES(1, tile_avx2, group, steps)                                                                       \
  }
LIMN_MULTIPLY_AVX2(16, 1)
LIMN_MULTIPLY_AVX2(16, 4)
LIMN_MULTIPLY_AVX2(32, 1)
LIMN_MULTIPLY_AVX2(32, 4)
LIMN_MULTIPLY_AVX2(32, 8)

static limn_multiply *multiply_avx2(int group, int largest_q) {
  const int steps = limn_steps_avx2(largest_q);
  if (group == 16) return steps >= 4 ? multiply_16_4_avx2 : multiply_16_1_avx2;
  return steps >= 8 ? multiply_32_8_avx2 : steps >= 4 ? multiply_32_4_avx2 : multiply_32_1_avx2;
}
#endif

// MARK: The recipe

void limn_products_int8_k(limn_recipe *recipe, limn_isa isa, int group, int largest_q) {
  recipe->panel_bytes = sizeof(limn_panel_k);
  recipe->x_bytes = sizeof(limn_x_k);
  recipe->prepare = group == 16 ? LIMN_PICK(isa, prepare_16) : LIMN_PICK(isa, prepare_32);
  recipe->multiply = group == 16 ? multiply_16_scalar : multiply_32_scalar;
#if defined(__x86_64__)
  if (isa == LIMN_AVX512 && limn_has_vnni())
    recipe->multiply = group == 16 ? multiply_16_vnni : multiply_32_vnni;
  else if (isa == LIMN_AVX512 || isa == LIMN_AVX2)
    recipe->multiply = multiply_avx2(group, largest_q);
#elif defined(__aarch64__)
  if (isa == LIMN_NEON) recipe->multiply = group == 16 ? limn_multiply_k_16_neon : limn_multiply_k_32_neon;
#endif
  (void)largest_q;
}
