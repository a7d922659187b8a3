/* SPDX-License-Identifier: Apache-2.0
 *
 * What a user's program does first, in C and in C++: both headers, and a call into
 * libpraas.
 */
#include <praas/client.h>
#include <praas/function.h>
#include <stdio.h>

PRAAS_FUNCTION int consumer_entry(struct praas_ctx *ctx);
PRAAS_FUNCTION int consumer_entry(struct praas_ctx *ctx)
{
	void *out = NULL;

	return praas_output(ctx, 1, &out) == 0 ? 0 : 1;
}

int main(void)
{
	struct praas_control *control = NULL;
	int rc = praas_control_open("ftp://127.0.0.1", NULL, &control);

	(void)printf("%s; %d %s\n", praas_status_text(PRAAS_OVERLOADED), rc,
		     praas_error());
	praas_control_close(control);
	return rc < 0 ? 0 : 1;
}
