// The int8 products with ARM's dot product (ARMv8.2 and later): each lane adds four products of signed bytes.
//
// USDOT, for unsigned weights, is a later addition that limn does without: q of the K formats is below 64, and for the
// other formats the offset is subtracted first, after which q fits a signed byte. Integers and the order of floats are
// those of the reference, and so are the bits.
#include "kernels.h"
#include "simd.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define LIMN_TARGET_DOTPROD __attribute__((target("dotprod")))

enum { HALF = LIMN_PANEL_ROWS / 2, QUARTER = LIMN_PANEL_ROWS / 4 };

/// sum[c] += Σ q · x for sixteen columns of eight rows and C tokens.
LIMN_TARGET_DOTPROD LIMN_INLINE void multiply_sixteen(
  const int8x16_t q[4][2], const int8_t *x, size_t x_stride, int32x4_t sum[][2], const int C) {
  LIMN_UNROLL (int c = 0; c < C; c++) {
    const int8x16_t xc = vld1q_s8(x + c * (ptrdiff_t)x_stride);
    LIMN_UNROLL (int i = 0; i < 2; i++) {
      sum[c][i] = vdotq_laneq_s32(sum[c][i], q[0][i], xc, 0);
      sum[c][i] = vdotq_laneq_s32(sum[c][i], q[1][i], xc, 1);
      sum[c][i] = vdotq_laneq_s32(sum[c][i], q[2][i], xc, 2);
      sum[c][i] = vdotq_laneq_s32(sum[c][i], q[3][i], xc, 3);
    }
  }
}

/// Sixteen columns of eight rows, from `row` on, with the offset subtracted.
LIMN_INLINE void load_sixteen(
  const uint8_t (*panel)[LIMN_PANEL_ROWS][4], int row, uint8x16_t offset, int8x16_t q[4][2]) {
  LIMN_UNROLL (int k = 0; k < 4; k++)
    LIMN_UNROLL (int i = 0; i < 2; i++)
      q[k][i] = vreinterpretq_s8_u8(vsubq_u8(vld1q_u8(panel[k][row + i * QUARTER]), offset));
}

LIMN_INLINE const limn_x_k *token_k(const char *x, size_t x_stride, int c) {
  return (const limn_x_k *)(x + (size_t)c * x_stride);
}

LIMN_TARGET_DOTPROD LIMN_INLINE void tile_k(
  const limn_panel_k *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, const int group, const int C) {
  for (int row = 0; row < LIMN_PANEL_ROWS; row += HALF) {
    int32x4_t total[4][2] = {0};
    for (int g = 0; g < LIMN_BLOCK / group; g++) {
      int32x4_t sum[4][2] = {0};
      LIMN_UNROLL (int k = g * group; k < (g + 1) * group; k += 16) {
        int8x16_t q[4][2];
        load_sixteen(w->q + k / 4, row, vdupq_n_u8(0), q);
        multiply_sixteen(q, token_k(x, x_stride, 0)->q + k, x_stride, sum, C);
      }
      LIMN_UNROLL (int i = 0; i < 2; i++) {
        const int32x4_t scale = vld1q_s32(w->scale[g] + row + i * QUARTER);
        LIMN_UNROLL (int c = 0; c < C; c++) total[c][i] = vmlaq_s32(total[c][i], sum[c][i], scale);
      }
    }
    LIMN_UNROLL (int c = 0; c < C; c++) {
      const limn_x_k *xc = token_k(x, x_stride, c);
      int32x4_t low[2] = {0};
      for (int g = 0; g < LIMN_BLOCK / group; g += 2) {
        const int16x8x2_t min = vld2q_s16(w->min[g / 2][row]);  // the even group's rows, the odd group's
        LIMN_UNROLL (int odd = 0; odd < 2; odd++) {
          low[0] = vmlal_n_s16(low[0], vget_low_s16(min.val[odd]), xc->sums[g + odd]);
          low[1] = vmlal_n_s16(low[1], vget_high_s16(min.val[odd]), xc->sums[g + odd]);
        }
      }
      LIMN_UNROLL (int i = 0; i < 2; i++) {
        const float32x4_t d = vmulq_n_f32(vld1q_f32(w->d + row + i * QUARTER), xc->d);
        const float32x4_t dmin = vmulq_n_f32(vld1q_f32(w->dmin + row + i * QUARTER), xc->d);
        float *at = acc + (size_t)c * acc_stride + row + i * QUARTER;
        const float32x4_t a = vfmaq_f32(vld1q_f32(at), d, vcvtq_f32_s32(total[c][i]));
        vst1q_f32(at, vfmsq_f32(a, dmin, vcvtq_f32_s32(low[i])));
      }
    }
  }
}

LIMN_TARGET_DOTPROD LIMN_INLINE void tile_32(
  const limn_panel_32 *w, const char *x, size_t x_stride, float *acc, size_t acc_stride, int columns, const int C) {
  const uint8x16_t offset = vdupq_n_u8((uint8_t)w->offset);
  for (int row = 0; row < LIMN_PANEL_ROWS; row += HALF) {
    float32x4_t a[4][2];
    LIMN_UNROLL (int c = 0; c < C; c++)
      LIMN_UNROLL (int i = 0; i < 2; i++) a[c][i] = vld1q_f32(acc + (size_t)c * acc_stride + row + i * QUARTER);
    for (int g = 0; g < columns / 32; g++) {
      int32x4_t sum[4][2] = {0};
      LIMN_UNROLL (int k = g * 32; k < (g + 1) * 32; k += 16) {
        int8x16_t q[4][2];
        load_sixteen(w->q + k / 4, row, offset, q);
        multiply_sixteen(q, ((const limn_x_32 *)x)->q + k, x_stride, sum, C);
      }
      LIMN_UNROLL (int i = 0; i < 2; i++) {
        const float32x4_t d = vld1q_f32(w->d[g] + row + i * QUARTER);
        LIMN_UNROLL (int c = 0; c < C; c++) {
          const limn_x_32 *xc = (const limn_x_32 *)(x + (size_t)c * x_stride);
          a[c][i] = vfmaq_f32(a[c][i], vmulq_n_f32(d, xc->d[g]), vcvtq_f32_s32(sum[c][i]));
        }
      }
    }
    LIMN_UNROLL (int c = 0; c < C; c++)
      LIMN_UNROLL (int i = 0; i < 2; i++) vst1q_f32(acc + (size_t)c * acc_stride + row + i * QUARTER, a[c][i]);
  }
}

// MARK: Four tokens at a time, as many as 32 registers have room for

#define LIMN_MULTIPLY(name, tile, last)                                                                          \
  LIMN_TARGET_DOTPROD void name(                                                                                 \
    const void *panel, const void *x, size_t x_stride, int tokens, float *acc, size_t acc_stride, int columns) { \
    (void)columns;                                                                                               \
    const char *xt = x;                                                                                          \
    for (; tokens >= 4; tokens -= 4, xt += 4 * x_stride, acc += 4 * acc_stride)                                  \
      tile(panel, xt, x_stride, acc, acc_stride, last, 4);                                                       \
    for (; tokens >= 1; tokens -= 1, xt += x_stride, acc += acc_stride)                                          \
      tile(panel, xt, x_stride, acc, acc_stride, last, 1);                                                       \
  }
LIMN_MULTIPLY(limn_multiply_k_16_neon, tile_k, 16)
LIMN_MULTIPLY(limn_multiply_k_32_neon, tile_k, 32)
LIMN_MULTIPLY(limn_multiply_32_neon, tile_32, columns)
#endif
