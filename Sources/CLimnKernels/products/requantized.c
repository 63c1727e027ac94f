// Prefill: the weights of a panel are requantised to 8-bit integers with one scale for each row and block.
//
//   weight ≈ d · q,  x ≈ dx · xq      Σₖ weight · x ≈ d · dx · (Σ q · (xq + 128) − 128 · Σ q)
//
// A K format's own product (int8_k.c) multiplies the sum of every group by the group's scale, a fifth of its time when
// many tokens share a panel. Here the scales are multiplied into the weights once per panel, and a block consists of
// integer products only. The price is rounding the weights to 1/127 of a block's largest, which is as fine as the
// rounding of the activations. Decoding keeps the exact integers: requantising for a single token would cost more than
// it saves.
#include "machine/amx.h"
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

_Static_assert(sizeof(limn_panel_r) == 4096 + 128, "panel of 256 columns");
_Static_assert(sizeof(limn_x_r) == 272, "activations stay aligned to 16 bytes");

// MARK: The scalar reference

static void multiply_scalar(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  (void)columns;
  const limn_panel_r *w = panel;
  for (int t = 0; t < tokens; t++) {
    const limn_x_r *xt = (const limn_x_r *)((const char *)x + t * x_stride);
    for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
      int32_t sum = w->bias[r];
      for (int k = 0; k < LIMN_BLOCK; k++) sum += w->q[k / 4][r][k % 4] * xt->q[k];
      float *a = acc + t * acc_stride + r;
      *a = fmaf(w->d[r] * xt->d, (float)sum, *a);
    }
  }
}

/// Zeros, where values cannot be divided by their largest magnitude.
LIMN_INLINE void prepare_zeros(float largest, limn_x_r *out) {
  memset(out->q, 128, sizeof out->q);
  out->d = largest * 0;
}

/// Scales the largest magnitude of a block to 127 and rounds to nearest even. A block of (nearly) zeros becomes zeros;
/// if a value is not finite, the scale is NaN.
static void prepare_scalar(const float *x, void *prepared, int columns) {
  float part[LIMN_BLOCK];
  x = limn_whole_block(x, columns, part);
  limn_x_r *out = prepared;
  const float largest = largest_magnitude(x, LIMN_BLOCK);
  if (!is_scalable(largest)) {
    prepare_zeros(largest, out);
    return;
  }
  const float inverse = 127 / largest;
  out->d = largest / 127;
  for (int k = 0; k < LIMN_BLOCK; k++) out->q[k] = (uint8_t)(128 + (int32_t)rintf(x[k] * inverse));
}

/// Divides by the largest magnitude that a row's scales allow, so that no weight exceeds ±127. If a scale is not
/// finite, the row's d is NaN.
static void requantize_scalar(const limn_panel_k *k, limn_panel_r *w, int group, int largest_q) {
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    float largest = 0, check = 0;
    for (int g = 0; g < LIMN_BLOCK / group; g++) {
      const float scale = k->d[r] * (float)k->scale[g][r], min = k->dmin[r] * (float)k->min[g / 2][r][g % 2];
      const float high = fabsf(fmaf(scale, (float)largest_q, -min)), low = fabsf(min);
      largest = high > largest ? high : largest;
      largest = low > largest ? low : largest;
      check += scale * 0 + min * 0;
    }
    const int any = check == 0 && largest > 1e-30f;
    const float inverse = any ? 127 / largest : 0;
    int32_t sum = 0;
    for (int i = 0; i < LIMN_BLOCK; i++) {
      const int g = i / group;
      const float scale = k->d[r] * (float)k->scale[g][r] * inverse;
      const float min = k->dmin[r] * (float)k->min[g / 2][r][g % 2] * inverse;
      const float value = any ? rintf(fmaf((float)k->q[i / 4][r][i % 4], scale, -min)) : 0;
      sum += w->q[i / 4][r][i % 4] = (int8_t)(int32_t)value;
    }
    w->bias[r] = -128 * sum;
    w->d[r] = any ? largest / 127 : check;
  }
}

#if defined(__x86_64__)
// MARK: Preparing and requantising in vectors: a lane is a row

LIMN_INLINE void prepare_body(const float *x, void *prepared, int columns) {
  float part[LIMN_BLOCK];
  x = limn_whole_block(x, columns, part);
  limn_x_r *out = prepared;
  v16i magnitudes = {0};
  for (int k = 0; k < LIMN_BLOCK; k += 16)
    magnitudes = __builtin_elementwise_max(magnitudes, v_magnitude(v_load(x + k)));
  const float largest = v_largest_magnitude(magnitudes);
  if (!is_scalable(largest)) {
    prepare_zeros(largest, out);
    return;
  }
  const float inverse = 127 / largest;
  out->d = largest / 127;
  for (int k = 0; k < LIMN_BLOCK; k += 16) {
    const v16i q = __builtin_convertvector(__builtin_elementwise_roundeven(v_load(x + k) * inverse), v16i);
    *(v16b_unaligned *)(out->q + k) = __builtin_convertvector(q + 128, v16b_unaligned);
  }
}
LIMN_INSTANCES(prepare, (const float *x, void *prepared, int columns), (x, prepared, columns))

LIMN_INLINE void requantize_body(const limn_panel_k *k, limn_panel_r *w, int group, int largest_q) {
  const v16f d = v_load(k->d), dmin = v_load(k->dmin);
  v16f scale[16], min[16], largest = v_splat(0), check = v_splat(0);
  const int groups = LIMN_BLOCK / group;
  for (int g = 0; g < groups; g++) {
    const v16i mins = v_load_bytes(k->min[g / 2]);
    scale[g] = d * __builtin_convertvector(v_load_bytes(k->scale[g]), v16f);
    min[g] = dmin * __builtin_convertvector(g % 2 ? mins >> 16 : mins << 16 >> 16, v16f);
    largest = v_max(largest, v_abs(v_fma(scale[g], v_splat((float)largest_q), -min[g])));
    largest = v_max(largest, v_abs(min[g]));
    check += scale[g] * 0 + min[g] * 0;
  }
  const v16i any = (check == v_splat(0)) & (largest > v_splat(1e-30f));
  const v16f inverse = v_splat(127) / largest;
  v_store(w->d, v_select(any, largest / 127, check));
  v16i sum = {0};
  for (int g = 0; g < groups; g++) {
    const v16f a = v_select(any, scale[g] * inverse, v_splat(0)), b = v_select(any, min[g] * inverse, v_splat(0));
    for (int i = g * group / 4; i < (g + 1) * group / 4; i++) {
      const v16i four = v_load_bytes(k->q[i]);
      v16i out = {0};
      LIMN_UNROLL (int byte = 0; byte < 4; byte++) {
        const v16f q = __builtin_convertvector(four >> byte * 8 & 255, v16f);
        // Adding 1.5 · 2²³ rounds to an integer, which is then in the lowest bits.
        const v16i rounded = (v16i)(v_fma(q, a, -b) + 12582912.0f);
        sum += rounded;
        out |= (rounded & 255) << byte * 8;
      }
      v_store_bytes(w->q[i], out);
    }
  }
  v_store_bytes(w->bias, -128 * (sum - LIMN_BLOCK * (v16i)v_splat(12582912.0f)));
}
LIMN_INSTANCES(requantize, (const limn_panel_k *k, limn_panel_r *w, int group, int largest_q), (k, w, group, largest_q))

// MARK: AVX-512 VNNI: 16 rows in a register, up to 12 tokens

LIMN_TARGET_VNNI LIMN_INLINE void tile(
  const limn_panel_r *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int C) {
  __m512i sum[LIMN_TILE_TOKENS];
  LIMN_UNROLL (int c = 0; c < C; c++) sum[c] = _mm512_loadu_si512(w->bias);
  for (int k = 0; k < LIMN_BLOCK / 4; k += 4)
    LIMN_UNROLL (int i = k; i < k + 4; i++) {
      const __m512i q = _mm512_loadu_si512(w->q[i]);
      LIMN_UNROLL (int c = 0; c < C; c++) {
        int32_t four;
        memcpy(&four, x + c * x_stride + i * 4, 4);
        sum[c] = _mm512_dpbusd_epi32(sum[c], _mm512_set1_epi32(four), q);
      }
    }
  const __m512 d = _mm512_loadu_ps(w->d);
  LIMN_UNROLL (int c = 0; c < C; c++) {
    const limn_x_r *xt = (const limn_x_r *)(x + c * x_stride);
    const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(xt->d));
    float *a = acc + c * acc_stride;
    _mm512_storeu_ps(a, _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum[c]), _mm512_loadu_ps(a)));
  }
}

LIMN_TARGET_VNNI static void multiply_vnni(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  (void)columns;
  const char *xt = x;
  LIMN_TILES(12, tile)
  LIMN_TILES(6, tile)
  LIMN_TILES(3, tile)
  LIMN_TILES(1, tile)
}

// MARK: AMX: 16 rows, up to 32 tokens

/// The same integers and floats as `tile`, so the same bits.
LIMN_TARGET_AMX static void multiply_amx(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  (void)columns;
  const limn_panel_r *w = panel;
  _Alignas(64) int32_t sums[LIMN_MOST_TOKENS][LIMN_PANEL_ROWS];
  limn_amx_zero();
  LIMN_UNROLL (int k = 0; k < LIMN_BLOCK; k += 64)
    LIMN_AMX_STEP(_tile_dpbusd, w->q[k / 4], (const char *)x + k, x_stride, tokens);
  limn_amx_store(sums, tokens);
  const __m512 d = _mm512_loadu_ps(w->d);
  const __m512i bias = _mm512_loadu_si512(w->bias);
  for (int t = 0; t < tokens; t++) {
    const limn_x_r *xt = (const limn_x_r *)((const char *)x + t * x_stride);
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_load_si512(sums[t]), bias));
    float *a = acc + t * acc_stride;
    _mm512_storeu_ps(a, _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(xt->d)), sum, _mm512_loadu_ps(a)));
  }
}

// MARK: AVX-VNNI: 16 rows in two registers, up to 6 tokens

LIMN_TARGET_AVX_VNNI LIMN_INLINE void tile_avx(
  const limn_panel_r *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int C) {
  __m256i sum[2][LIMN_AVX2_TOKENS];
  LIMN_UNROLL (int v = 0; v < 2; v++)
    LIMN_UNROLL (int c = 0; c < C; c++) sum[v][c] = _mm256_loadu_si256((const __m256i *)w->bias + v);
  _Pragma("clang loop unroll(disable)") for (int k = 0; k < LIMN_BLOCK / 4; k++) {
    const __m256i *q = (const __m256i *)w->q[k];
    const __m256i w0 = _mm256_loadu_si256(q), w1 = _mm256_loadu_si256(q + 1);
    const char *x0 = x + 4 * k, *x3 = limn_token_3_avx2(x0, x_stride);
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const __m256i xq = limn_token_avx2(x0, x3, x_stride, c);
      sum[0][c] = _mm256_dpbusd_avx_epi32(sum[0][c], xq, w0);
      sum[1][c] = _mm256_dpbusd_avx_epi32(sum[1][c], xq, w1);
    }
  }
  limn_add_scaled_avx2(sum, w->d, &((const limn_x_r *)x)->d, x_stride, acc, acc_stride, C);
}

LIMN_TARGET_AVX_VNNI static void multiply_avx_vnni(
  const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) {
  (void)columns;
  const char *xt = x;
  LIMN_TILES(6, tile_avx)
  LIMN_TILES(4, tile_avx)
  LIMN_TILES(2, tile_avx)
  LIMN_TILES(1, tile_avx)
}
#endif

// MARK: The recipe

/// Unpacks the format's own panel first, which stays in L1.
#define LIMN_UNPACK(isa)                                                                                   \
  static void unpack_##isa(                                                                                \
    const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) { \
    _Alignas(64) limn_panel_k k;                                                                           \
    recipe->unpack_own(recipe, weight, row_bytes, rows, columns, &k);                                      \
    if (recipe->group == 16)                                                                               \
      requantize_##isa(&k, panel, 16, recipe->largest_q);                                                  \
    else                                                                                                   \
      requantize_##isa(&k, panel, 32, recipe->largest_q);                                                  \
  }
LIMN_UNPACK(scalar)
#if defined(__x86_64__)
LIMN_UNPACK(avx2)
LIMN_UNPACK(avx512)
#endif

int limn_products_requantized(limn_recipe *recipe, limn_isa isa, int group, int largest_q) {
  recipe->unpack_own = recipe->unpack;
  recipe->few_tokens = 0;
  recipe->group = group;
  recipe->largest_q = largest_q;
  recipe->panel_bytes = sizeof(limn_panel_r);
  recipe->x_bytes = sizeof(limn_x_r);
  if (isa == LIMN_SCALAR) {
    recipe->prepare = prepare_scalar;
    recipe->unpack = unpack_scalar;
    recipe->multiply = multiply_scalar;
    return 1;
  }
#if defined(__x86_64__)
  if (isa == LIMN_AVX512 && limn_has_vnni()) {
    recipe->prepare = prepare_avx512;
    recipe->unpack = unpack_avx512;
    recipe->multiply = multiply_vnni;
    if (limn_has_amx()) limn_take_amx(recipe, multiply_amx);
    return 1;
  }
  if (isa == LIMN_AVX2 && limn_has_avx_vnni()) {
    recipe->prepare = prepare_avx2;
    recipe->unpack = unpack_avx2;
    recipe->multiply = multiply_avx_vnni;
    return 1;
  }
#endif
  return 0;
}
