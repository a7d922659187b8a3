/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRAAS_CONTROL_REST_STREAM_H
#define PRAAS_CONTROL_REST_STREAM_H

#include <microhttpd.h>

struct praas_stream;

/* The response owns the stream. NULL: no memory; it is gone all the same. */
struct MHD_Response *praas_stream_response(struct praas_stream *stream);
/* One that was never sent. NULL is allowed. */
void praas_stream_drop(struct praas_stream *stream);

#endif
