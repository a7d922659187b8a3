/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest functions: take an input, give a result.
 *
 *   praas invoke hello hello -d World
 *   praas invoke hello echo -d @/etc/hostname
 */
#include <praas/function.h>

#include <string.h>

/* Does nothing: what is left of its time is the cost of a call. */
PRAAS_FUNCTION int noop(struct praas_ctx *ctx)
{
	(void)ctx;
	return 0;
}

/* Gives its input back. The result refers to the received bytes: they are not copied.
 */
PRAAS_FUNCTION int echo(struct praas_ctx *ctx)
{
	struct praas_msg in;

	if (praas_input(ctx, 0, &in) != 0)
		return praas_fail(ctx, 1, "no input");
	if (praas_output_view(ctx, &in.view) != 0)
		return praas_fail(ctx, 2, "no memory for the result");
	return 0;
}

/* Greets whom the input names. The result is built in place, where the caller reads it.
 */
PRAAS_FUNCTION int hello(struct praas_ctx *ctx)
{
	static const char greeting[] = "Hello, ";
	const size_t bytes = sizeof(greeting) - 1;
	struct praas_msg in;
	void *out;

	if (praas_input(ctx, 0, &in) != 0 || in.view.bytes == 0)
		return praas_fail(ctx, 1, "whom shall I greet? give a name as input");
	if (praas_output(ctx, bytes + in.view.bytes + 1, &out) != 0)
		return praas_fail(ctx, 2, "no memory for the result");
	memcpy(out, greeting, bytes);
	memcpy((char *)out + bytes, in.view.data, in.view.bytes);
	((char *)out)[bytes + in.view.bytes] = '!';
	return 0;
}
