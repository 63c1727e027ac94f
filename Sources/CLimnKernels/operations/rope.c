// Rotary position embeddings: pairs of values are rotated by an angle that grows with the position.
//
//   (a, b) → (a · cos − b · sin, b · cos + a · sin)
//
// Products and sums are rounded one by one, as in PyTorch, so every instruction set computes the same bits.
#include "kernels.h"
#include "simd.h"

static void rope_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_rope_job *j = job;
  const ptrdiff_t half = j->dimensions / 2;
  for (ptrdiff_t t = begin; t < end; t++) {
    const float *cosines = j->cosines + t * half, *sines = j->sines + t * half;
    for (ptrdiff_t h = 0; h < j->heads; h++) {
      float *x = j->x + (t * j->heads + h) * j->head_size;
      if (j->adjacent) {
        for (ptrdiff_t i = 0; i < half; i++) {
          const float a = x[2 * i], b = x[2 * i + 1];
          x[2 * i] = a * cosines[i] - b * sines[i];
          x[2 * i + 1] = b * cosines[i] + a * sines[i];
        }
      } else {
        for (ptrdiff_t i = 0; i < half; i++) {
          const float a = x[i], b = x[i + half];
          x[i] = a * cosines[i] - b * sines[i];
          x[i + half] = b * cosines[i] + a * sines[i];
        }
      }
    }
  }
}

LIMN_INLINE void rope_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  rope_scalar(job, begin, end, scratch);
}
LIMN_KERNEL_INSTANCES(rope)

void limn_install_rope(limn_kernels *kernels) { kernels->rope = LIMN_PICK(kernels->isa, rope); }
