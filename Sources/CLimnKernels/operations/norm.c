// RMSNorm and LayerNorm, a row at a time.
#include "kernels.h"
#include "simd.h"

// MARK: The scalar reference, with sums in double

static void rms_norm_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_norm_job *j = job;
  for (ptrdiff_t row = begin; row < end; row++) {
    const float *x = j->x + row * j->width;
    float *y = j->y + row * j->width;
    double squares = 0;
    for (ptrdiff_t i = 0; i < j->width; i++) squares += (double)x[i] * x[i];
    const float factor = 1 / sqrtf((float)(squares / (double)j->width) + j->epsilon);
    for (ptrdiff_t i = 0; i < j->width; i++) y[i] = x[i] * factor * j->weight[i];
  }
}

static void layer_norm_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_norm_job *j = job;
  for (ptrdiff_t row = begin; row < end; row++) {
    const float *x = j->x + row * j->width;
    float *y = j->y + row * j->width;
    double sum = 0, squares = 0;
    for (ptrdiff_t i = 0; i < j->width; i++) sum += x[i];
    const double mean = sum / (double)j->width;
    for (ptrdiff_t i = 0; i < j->width; i++) squares += (x[i] - mean) * (x[i] - mean);
    const float factor = 1 / sqrtf((float)(squares / (double)j->width) + j->epsilon);
    for (ptrdiff_t i = 0; i < j->width; i++) y[i] = (x[i] - (float)mean) * factor * j->weight[i] + j->bias[i];
  }
}

// MARK: Vectors: 16 partial sums in float32

LIMN_INLINE void rms_norm_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_norm_job *j = job;
  const ptrdiff_t width = j->width, whole = width & ~(ptrdiff_t)15;
  for (ptrdiff_t row = begin; row < end; row++) {
    const float *x = j->x + row * width;
    float *y = j->y + row * width;
    v16f squares = v_splat(0);
    for (ptrdiff_t i = 0; i < whole; i += 16) squares = v_fma(v_load(x + i), v_load(x + i), squares);
    const v16f last = v_load_part(x + whole, width - whole);
    squares = v_fma(last, last, squares);
    const float factor = 1 / sqrtf(v_sum(squares) / (float)width + j->epsilon);
    for (ptrdiff_t i = 0; i < whole; i += 16) v_store(y + i, v_load(x + i) * factor * v_load(j->weight + i));
    v_store_part(y + whole, last * factor * v_load_part(j->weight + whole, width - whole), width - whole);
  }
}
LIMN_KERNEL_INSTANCES(rms_norm)

LIMN_INLINE void layer_norm_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_norm_job *j = job;
  const ptrdiff_t width = j->width, whole = width & ~(ptrdiff_t)15, rest = width - whole;
  float ones[16] = {0};
  for (ptrdiff_t i = 0; i < rest; i++) ones[i] = 1;
  for (ptrdiff_t row = begin; row < end; row++) {
    const float *x = j->x + row * width;
    float *y = j->y + row * width;
    const v16f last = v_load_part(x + whole, rest);
    v16f sum = last;
    for (ptrdiff_t i = 0; i < whole; i += 16) sum += v_load(x + i);
    const float mean = v_sum(sum) / (float)width;
    const v16f last_centred = (last - mean) * v_load(ones);
    v16f squares = last_centred * last_centred;
    for (ptrdiff_t i = 0; i < whole; i += 16) {
      const v16f centred = v_load(x + i) - mean;
      squares = v_fma(centred, centred, squares);
    }
    const float factor = 1 / sqrtf(v_sum(squares) / (float)width + j->epsilon);
    for (ptrdiff_t i = 0; i < whole; i += 16)
      v_store(y + i, v_fma((v_load(x + i) - mean) * factor, v_load(j->weight + i), v_load(j->bias + i)));
    const v16f weight = v_load_part(j->weight + whole, rest), bias = v_load_part(j->bias + whole, rest);
    v_store_part(y + whole, v_fma(last_centred * factor, weight, bias), rest);
  }
}
LIMN_KERNEL_INSTANCES(layer_norm)

void limn_install_norm(limn_kernels *kernels) {
  kernels->rms_norm = LIMN_PICK(kernels->isa, rms_norm);
  kernels->layer_norm = LIMN_PICK(kernels->isa, layer_norm);
}
