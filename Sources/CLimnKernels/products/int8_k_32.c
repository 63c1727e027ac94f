// Prefill with panels of int8 and integer scales (limn_panel_k: the K formats, IQ1 to IQ3, TQ; Q4_0, Q4_1, Q5_0 and Q5_1
// by way of integer_scales.c), with activations that have a scale for every 32 columns:
//
//   Σₖ weight · x ≈ d · Σ_g dx[g] · scale[g] · (Σ_{k in g} q · xq)  −  dmin · Σ_g min[g] · (dx[g] · Σ_{k in g} xq)
//
// The activations of trained models have outliers. One scale for 256 columns, as decoding uses it (int8_k.c), would
// leave the 255 neighbours of an outlier few of their 8 bits; a scale for every 32 costs a tenth of the time.
//
// The product with scale[g] is rounded once, whether it is computed in integers or in floats, and groups are added in
// ascending order, so every instruction set computes the same bits.
//
// Q6_K, whose numbers are centred at 32, needs no minimums (`centred`): the sum of a group begins with −32 · Σ xq.
// int8_centred.c explains the 16-bit sums of AVX2.
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

_Static_assert(sizeof(limn_x_k_32) == 416, "activations of 256 columns");

enum { GROUPS = LIMN_BLOCK / 32, CENTRE = 32 };

// MARK: The scalar reference

LIMN_INLINE void multiply_reference(
  const limn_panel_k *w, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, const int group,
  const int centred) {
  for (int t = 0; t < tokens; t++) {
    const limn_x_k_32 *xt = (const limn_x_k_32 *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      float total = 0, low = 0;
      for (int g = 0; g < LIMN_BLOCK / group; g++) {
        int32_t sum = 0;
        for (int k = g * group; k < (g + 1) * group; k++)
          sum += (w->q[k / 4][r][k % 4] - (centred ? CENTRE : 0)) * xt->q[k];
        total = fmaf((float)(w->scale[g][r] * sum), xt->d[g * group / 32], total);
        if (!centred) low = fmaf((float)w->min[g / 2][r][g % 2], xt->sums[g], low);
      }
      float *a = acc + t * acc_stride + r;
      *a = fmaf(w->d[r], total, *a);
      *a = fmaf(-w->dmin[r], low, *a);
    }
  }
}

/// Scales the largest magnitude of 32 columns to 127 and rounds to nearest even. (Nearly) zeros become zeros; if a value
/// is not finite, the scale is NaN.
LIMN_INLINE void prepare_reference(const float *x, limn_x_k_32 *out, const int group) {
  for (int g = 0; g < GROUPS; g++) {
    const float largest = largest_magnitude(x + g * 32, 32);
    const int any = is_scalable(largest);
    const float inverse = any ? 127 / largest : 0;
    out->d[g] = any ? largest / 127 : largest * 0;
    for (int k = g * 32; k < (g + 1) * 32; k++) out->q[k] = any ? (int8_t)(int32_t)rintf(x[k] * inverse) : 0;
  }
  for (int g = 0; g < LIMN_BLOCK / group; g++) {
    int32_t sum = 0;
    for (int k = g * group; k < (g + 1) * group; k++) sum += out->q[k];
    out->sums[g] = out->d[g * group / 32] * (float)sum;
    out->start[g] = -CENTRE * sum;
  }
}

// MARK: Preparing in vectors

LIMN_INLINE void prepare_vectors(const float *x, limn_x_k_32 *out, const int group) {
  for (int g = 0; g < GROUPS; g++) {
    const v16f half[2] = {v_load(x + g * 32), v_load(x + g * 32 + 16)};
    const float largest = v_largest_magnitude(
      __builtin_elementwise_max(v_magnitude(half[0]), v_magnitude(half[1])));
    const int any = is_scalable(largest);
    const float inverse = any ? 127 / largest : 0;
    const float d = out->d[g] = any ? largest / 127 : largest * 0;
    v16i q[2];
    LIMN_UNROLL (int i = 0; i < 2; i++) {
      const v16f rounded = any ? __builtin_elementwise_roundeven(half[i] * inverse) : v_splat(0);
      q[i] = __builtin_convertvector(rounded, v16i);
      *(v16b_unaligned *)(out->q + g * 32 + i * 16) = __builtin_convertvector(q[i], v16b_unaligned);
    }
    if (group == 32) {
      out->sums[g] = d * (float)v_sum_int(q[0] + q[1]);
      continue;
    }
    LIMN_UNROLL (int i = 0; i < 2; i++) {
      const int32_t sum = v_sum_int(q[i]);
      out->sums[2 * g + i] = d * (float)sum;
      out->start[2 * g + i] = -CENTRE * sum;
    }
  }
}

#define LIMN_PREPARE(group)                                                             \
  static void prepare_##group##_scalar(const float *x, void *prepared, int columns) {   \
    float part[LIMN_BLOCK];                                                             \
    prepare_reference(limn_whole_block(x, columns, part), prepared, group);             \
  }                                                                                     \
  LIMN_INLINE void prepare_##group##_body(const float *x, void *prepared, int columns) { \
    float part[LIMN_BLOCK];                                                             \
    prepare_vectors(limn_whole_block(x, columns, part), prepared, group);               \
  }                                                                                     \
  LIMN_INSTANCES(prepare_##group, (const float *x, void *prepared, int columns), (x, prepared, columns))
LIMN_PREPARE(16)
LIMN_PREPARE(32)

#define LIMN_SCALAR_MULTIPLY(name, group, centred)                                                               \
  static void multiply_##name##_scalar(                                                                          \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) { \
    (void)columns;                                                                                               \
    multiply_reference(panel, x, x_stride, tokens, acc, acc_stride, group, centred);                             \
  }
LIMN_SCALAR_MULTIPLY(16, 16, 0)
LIMN_SCALAR_MULTIPLY(32, 32, 0)
LIMN_SCALAR_MULTIPLY(centred, 16, 1)

#if defined(__x86_64__)
/// The two 16-bit lanes of a row begin with −32 · Σ xq of the columns that they add up: of each four the first two, and
/// the last two.
LIMN_TARGET_AVX2 static void prepare_centred_avx2(const float *x, void *prepared, int columns) {
  limn_x_k_32 *out = prepared;
  prepare_16_avx2(x, out, columns);
  for (int g = 0; g < LIMN_BLOCK / 16; g += 2) {
    // Two groups of four 32-bit words each; the 16-bit lanes of a word are the pairs of its four columns.
    const __m256i q = _mm256_loadu_si256((const __m256i *)(out->q + g * 16));
    __m256i sums = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0x4e));
    sums = _mm256_add_epi16(sums, _mm256_shuffle_epi32(sums, 0xb1));
    const __m256i start = _mm256_mullo_epi16(sums, _mm256_set1_epi16(-CENTRE));
    out->start[g] = _mm256_extract_epi32(start, 0);
    out->start[g + 1] = _mm256_extract_epi32(start, 4);
  }
}

// MARK: AVX-512 VNNI: 16 rows in a register, up to 12 tokens

LIMN_TARGET_VNNI LIMN_INLINE void tile_vnni(
  const limn_panel_k *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group,
  const int centred, const int C) {
  __m512 total[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[c] = _mm512_setzero_ps();
  for (int g = 0; g < LIMN_BLOCK / group; g++) {
    __m512i sum[LIMN_TILE_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++)
      sum[c] = _mm512_set1_epi32(centred ? ((const limn_x_k_32 *)(x + c * x_stride))->start[g] : 0);
    LIMN_UNROLL (int k = 0; k < group / 4; k++) {
      const __m512i q = _mm512_loadu_si512(w->q[g * group / 4 + k]);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        int32_t four;
        memcpy(&four, ((const limn_x_k_32 *)(x + c * x_stride))->q + g * group + k * 4, 4);
        sum[c] = _mm512_dpbusd_epi32(sum[c], q, _mm512_set1_epi32(four));
      }
      limn_in_order();
    }
    const __m512 scale = _mm512_cvtepi32_ps(_mm512_loadu_si512(w->scale[g]));
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m512 dx = _mm512_set1_ps(((const limn_x_k_32 *)(x + c * x_stride))->d[g * group / 32]);
      total[c] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[c]), scale), dx, total[c]);
    }
  }
  __m512 low[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) low[c] = _mm512_setzero_ps();
  for (int g = 0; !centred && g < LIMN_BLOCK / group; g++) {
    const v16i pairs = *(const v16i_unaligned *)w->min[g / 2];
    const __m512 min = (__m512) __builtin_convertvector(g % 2 ? pairs >> 16 : pairs << 16 >> 16, v16f);
    LIMN_UNROLL (int c = 0; c < C; c++)
      low[c] = _mm512_fmadd_ps(min, _mm512_set1_ps(((const limn_x_k_32 *)(x + c * x_stride))->sums[g]), low[c]);
  }
  const __m512 d = _mm512_loadu_ps(w->d), dmin = _mm512_loadu_ps(w->dmin);
  LIMN_UNROLL (int c = 0; c < C; c++) {
    float *a = acc + c * acc_stride;
    const __m512 sum = _mm512_fmadd_ps(d, total[c], _mm512_loadu_ps(a));
    _mm512_storeu_ps(a, centred ? sum : _mm512_fnmadd_ps(dmin, low[c], sum));
  }
}

// MARK: AVX2 and AVX-VNNI: 8 or 16 rows in one or two registers, up to 6 tokens

/// acc += d · total − dmin · Σ min · sums, for rows from `row` on.
LIMN_TARGET_AVX2 LIMN_INLINE void finish_avx2(
  const limn_panel_k *w, const int row, const char *x, size_t x_stride, __m256 total[2][LIMN_AVX2_TOKENS], float *acc,
  size_t acc_stride, const int group, const int centred, const int vectors, const int C) {
  __m256 low[2][LIMN_AVX2_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) low[0][c] = low[1][c] = _mm256_setzero_ps();
  for (int g = 0; !centred && g < LIMN_BLOCK / group; g++) {
    __m256 min[2];
    LIMN_UNROLL (int v = 0; v < vectors; v++) {
      const __m256i pairs = _mm256_loadu_si256((const __m256i *)w->min[g / 2][row + v * 8]);
      min[v] = _mm256_cvtepi32_ps(_mm256_srai_epi32(g % 2 ? pairs : _mm256_slli_epi32(pairs, 16), 16));
    }
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m256 sums = _mm256_set1_ps(((const limn_x_k_32 *)(x + c * x_stride))->sums[g]);
      LIMN_UNROLL (int v = 0; v < vectors; v++) low[v][c] = _mm256_fmadd_ps(min[v], sums, low[v][c]);
    }
  }
  LIMN_UNROLL (int v = 0; v < vectors; v++) {
    const __m256 d = _mm256_loadu_ps(w->d + row + v * 8), dmin = _mm256_loadu_ps(w->dmin + row + v * 8);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      float *a = acc + c * acc_stride + row + v * 8;
      const __m256 sum = _mm256_fmadd_ps(d, total[v][c], _mm256_loadu_ps(a));
      _mm256_storeu_ps(a, centred ? sum : _mm256_fnmadd_ps(dmin, low[v][c], sum));
    }
  }
}

LIMN_TARGET_AVX2 LIMN_INLINE __m256 scale_of_token(const char *x, size_t x_stride, int c, int column) {
  return _mm256_set1_ps(((const limn_x_k_32 *)(x + c * x_stride))->d[column / 32]);
}

// Multiplying 16-bit sums by their scale also widens them (int8_k.c).

enum { WIDE_STEPS = 4 };

/// Rows from `row` on, 8 for each of `vectors`.
LIMN_TARGET_AVX2 LIMN_INLINE void rows_avx2(
  const limn_panel_k *w, const int row, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group,
  const int centred, const int steps, const int vectors, const int C) {
  __m256 total[2][LIMN_AVX2_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[0][c] = total[1][c] = _mm256_setzero_ps();
  for (int g = 0; g < LIMN_BLOCK / group; g++) {
    __m256i scaled[2][LIMN_AVX2_TOKENS];
    LIMN_UNROLL (int first = 0; first < group / 4; first += steps) {
      __m256i sum[2][LIMN_AVX2_TOKENS];
      const __m256i *q = (const __m256i *)w->q[g * group / 4 + first][row];
      if (centred)
        LIMN_UNROLL (int c = 0; c < C; c++)
          sum[0][c] = sum[1][c] = _mm256_set1_epi32(((const limn_x_k_32 *)(x + c * x_stride))->start[g]);
      limn_steps_of_avx2(q, x + g * group + first * 4, x_stride, sum, centred, steps, vectors, C);
      LIMN_UNROLL (int v = 0; v < vectors; v++) {
        const __m256i scale = limn_scale_words_avx2(w->scale[g] + row + v * 8);
        LIMN_UNROLL (int c = 0; c < C; c++) {
          const __m256i product = _mm256_madd_epi16(sum[v][c], scale);
          scaled[v][c] = first == 0 ? product : _mm256_add_epi32(scaled[v][c], product);
        }
      }
      if (vectors == 2 && first + steps < group / 4) limn_in_memory(scaled);
    }
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m256 dx = scale_of_token(x, x_stride, c, g * group);
      LIMN_UNROLL (int v = 0; v < vectors; v++)
        total[v][c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(scaled[v][c]), dx, total[v][c]);
    }
    limn_in_memory(total);
  }
  finish_avx2(w, row, x, x_stride, total, acc, acc_stride, group, centred, vectors, C);
}

LIMN_TARGET_AVX2 LIMN_INLINE void tile_avx2(
  const limn_panel_k *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group,
  const int centred, const int steps, const int C) {
  if (steps >= WIDE_STEPS) {
    rows_avx2(w, 0, x, x_stride, acc, acc_stride, group, centred, steps, 2, C);
  } else {
    rows_avx2(w, 0, x, x_stride, acc, acc_stride, group, centred, steps, 1, C);
    rows_avx2(w, 8, x, x_stride, acc, acc_stride, group, centred, steps, 1, C);
  }
}

LIMN_TARGET_AVX_VNNI LIMN_INLINE void tile_avx_vnni(
  const limn_panel_k *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group,
  const int centred, const int C) {
  __m256 total[2][LIMN_AVX2_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) total[0][c] = total[1][c] = _mm256_setzero_ps();
  for (int g = 0; g < LIMN_BLOCK / group; g++) {
    __m256i sum[2][LIMN_AVX2_TOKENS];
    LIMN_UNROLL (int c = 0; c < C; c++)
      sum[0][c] = sum[1][c] = _mm256_set1_epi32(centred ? ((const limn_x_k_32 *)(x + c * x_stride))->start[g] : 0);
    const char *x0 = x + g * group, *x3 = limn_token_3_avx2(x0, x_stride);
    LIMN_UNROLL (int k = 0; k < group / 4; k++) {
      const __m256i *q = (const __m256i *)w->q[g * group / 4 + k];
      const __m256i w0 = _mm256_loadu_si256(q), w1 = _mm256_loadu_si256(q + 1);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const __m256i xq = limn_token_avx2(x0 + 4 * k, x3 + 4 * k, x_stride, c);
        sum[0][c] = _mm256_dpbusd_avx_epi32(sum[0][c], w0, xq);
        sum[1][c] = _mm256_dpbusd_avx_epi32(sum[1][c], w1, xq);
      }
      limn_in_order();
    }
    LIMN_UNROLL (int v = 0; v < 2; v++) {
      const __m256 scale = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)w->scale[g] + v));
      LIMN_UNROLL (int c = 0; c < C; c++) {
        const __m256 dx = scale_of_token(x, x_stride, c, g * group);
        total[v][c] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[v][c]), scale), dx, total[v][c]);
      }
    }
    limn_in_memory(total);
  }
  finish_avx2(w, 0, x, x_stride, total, acc, acc_stride, group, centred, 2, C);
}

/// `most`, 6 or 12 tokens at a time, then fewer.
#define LIMN_MULTIPLY(name, target, tile, most, half, ...)                                                       \
  target static void multiply_##name(                                                                            \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) { \
    (void)columns;                                                                                               \
    const char *xt = x;                                                                                          \
    LIMN_TILES(most, tile, __VA_ARGS__)                                                                          \
    LIMN_TILES(half, tile, __VA_ARGS__)                                                                          \
    LIMN_TILES(2, tile, __VA_ARGS__)                                                                             \
    LIMN_TILES(1, tile, __VA_ARGS__)                                                                             \
  }
LIMN_MULTIPLY(16_vnni, LIMN_TARGET_VNNI, tile_vnni, 12, 6, 16, 0)
LIMN_MULTIPLY(32_vnni, LIMN_TARGET_VNNI, tile_vnni, 12, 6, 32, 0)
LIMN_MULTIPLY(centred_vnni, LIMN_TARGET_VNNI, tile_vnni, 12, 6, 16, 1)
LIMN_MULTIPLY(16_avx_vnni, LIMN_TARGET_AVX_VNNI, tile_avx_vnni, 6, 4, 16, 0)
LIMN_MULTIPLY(32_avx_vnni, LIMN_TARGET_AVX_VNNI, tile_avx_vnni, 6, 4, 32, 0)
LIMN_MULTIPLY(centred_avx_vnni, LIMN_TARGET_AVX_VNNI, tile_avx_vnni, 6, 4, 16, 1)
LIMN_MULTIPLY(16_1_avx2, LIMN_TARGET_AVX2, tile_avx2, 6, 4, 16, 0, 1)
LIMN_MULTIPLY(16_4_avx2, LIMN_TARGET_AVX2, tile_avx2, 6, 4, 16, 0, 4)
LIMN_MULTIPLY(32_1_avx2, LIMN_TARGET_AVX2, tile_avx2, 6, 4, 32, 0, 1)
LIMN_MULTIPLY(32_4_avx2, LIMN_TARGET_AVX2, tile_avx2, 6, 4, 32, 0, 4)
LIMN_MULTIPLY(32_8_avx2, LIMN_TARGET_AVX2, tile_avx2, 6, 4, 32, 0, 8)
LIMN_MULTIPLY(centred_avx2, LIMN_TARGET_AVX2, tile_avx2, 6, 4, 16, 1, 4)

static limn_multiply *multiply_avx2(int group, int largest_q) {
  const int steps = limn_steps_avx2(largest_q);
  if (group == 16) return steps >= 4 ? multiply_16_4_avx2 : multiply_16_1_avx2;
  return steps >= 8 ? multiply_32_8_avx2 : steps >= 4 ? multiply_32_4_avx2 : multiply_32_1_avx2;
}
#endif

// MARK: The recipe

int limn_products_int8_k_32(limn_recipe *recipe, limn_isa isa, int group, int largest_q) {
  const int centred = group == 16 && largest_q == 2 * CENTRE - 1;
  recipe->few_tokens = 0;
  recipe->panel_bytes = sizeof(limn_panel_k);
  recipe->x_bytes = sizeof(limn_x_k_32);
  recipe->prepare = group == 16 ? LIMN_PICK(isa, prepare_16) : LIMN_PICK(isa, prepare_32);
  recipe->multiply = centred ? multiply_centred_scalar : group == 16 ? multiply_16_scalar : multiply_32_scalar;
  if (isa == LIMN_SCALAR) return 1;
#if defined(__x86_64__)
  if (isa == LIMN_AVX512 && limn_has_vnni()) {
    recipe->multiply = centred ? multiply_centred_vnni : group == 16 ? multiply_16_vnni : multiply_32_vnni;
  } else if (isa == LIMN_AVX2 && limn_has_avx_vnni()) {
    recipe->multiply = centred ? multiply_centred_avx_vnni : group == 16 ? multiply_16_avx_vnni : multiply_32_avx_vnni;
  } else {
    recipe->multiply = centred ? multiply_centred_avx2 : multiply_avx2(group, largest_q);
    if (centred) recipe->prepare = prepare_centred_avx2;
  }
  return 1;
#else
  return 0;
#endif
}
