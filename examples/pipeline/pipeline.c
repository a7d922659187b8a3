/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that call functions of their own process: one after the other, or at once.
 *
 *   praas invoke pipeline chain -d 'never odd'     → DDO REVEN
 *   praas invoke pipeline fork -d abc              → ABC cba
 *
 * A stage's result is lent to its caller, which passes it on as the next stage's input.
 */
#include <praas/function.h>

#include <stdio.h>
#include <string.h>

static char upper_of(char c)
{
	if (c < 'a' || c > 'z')
		return c;
	return (char)(c - 'a' + 'A');
}

/* Two stages. Each reads its input where it was received and writes its result in
 * place. */
PRAAS_FUNCTION int upper(struct praas_ctx *ctx)
{
	struct praas_msg in;
	const char *text;
	void *out;

	if (praas_input(ctx, 0, &in) != 0 ||
	    praas_output(ctx, in.view.bytes, &out) != 0)
		return praas_fail(ctx, 1, "no input, or no memory for the result");
	text = in.view.data;
	for (size_t i = 0; i < in.view.bytes; i++)
		((char *)out)[i] = upper_of(text[i]);
	return 0;
}

PRAAS_FUNCTION int reverse(struct praas_ctx *ctx)
{
	struct praas_msg in;
	const char *text;
	void *out;

	if (praas_input(ctx, 0, &in) != 0 ||
	    praas_output(ctx, in.view.bytes, &out) != 0)
		return praas_fail(ctx, 1, "no input, or no memory for the result");
	text = in.view.data;
	for (size_t i = 0; i < in.view.bytes; i++)
		((char *)out)[i] = text[in.view.bytes - 1 - i];
	return 0;
}

/* A stage has failed: say which and why. rc: the call could not be made; status: its
 * outcome. */
static int stage_failed(struct praas_ctx *ctx, const char *stage, int rc, int status)
{
	char text[PRAAS_ERROR_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "stage %s failed: error %d, status %d",
		       stage, rc, status); /* cut if long */
	return praas_fail(ctx, 2, text);
}

/* Blocking: upper, then reverse what upper gave. */
PRAAS_FUNCTION int chain(struct praas_ctx *ctx)
{
	struct praas_msg in;
	struct praas_view loud;
	struct praas_view backwards;
	int status = 0;
	int rc = praas_input(ctx, 0, &in);

	if (rc == 0)
		rc = praas_invoke(ctx, PRAAS_SELF, "upper", in.view.data, in.view.bytes,
				  &status, &loud);
	if (rc != 0 || status != 0)
		return stage_failed(ctx, "upper", rc, status);
	rc = praas_invoke(ctx, PRAAS_SELF, "reverse", loud.data, loud.bytes, &status,
			  &backwards);
	if (rc != 0 || status != 0)
		return stage_failed(ctx, "reverse", rc, status);
	praas_release(ctx, &loud);
	return praas_output_view(ctx, &backwards) == 0
		       ? 0
		       : praas_fail(ctx, 1, "no memory for the result");
}

/* Not blocking: both stages start, perhaps in two workers, and are joined. */
PRAAS_FUNCTION int fork_join(struct praas_ctx *ctx)
{
	static const char *const stages[] = { "upper", "reverse" };
	struct praas_view parts[2];
	uint64_t calls[2];
	struct praas_msg in;
	void *out;
	int rc = praas_input(ctx, 0, &in);

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = praas_invoke_async(ctx, PRAAS_SELF, stages[i], NULL, in.view.data,
					in.view.bytes, &calls[i]);
	if (rc != 0)
		return praas_fail(ctx, 1, "the stages cannot be started");
	for (int i = 0; i < 2; i++) {
		int status = 0;

		rc = praas_wait(ctx, calls[i], -1, &status, &parts[i]);
		if (rc != 0 || status != 0)
			return stage_failed(ctx, stages[i], rc, status);
	}
	if (praas_output(ctx, parts[0].bytes + 1 + parts[1].bytes, &out) != 0)
		return praas_fail(ctx, 1, "no memory for the result");
	if (parts[0].bytes > 0)
		memcpy(out, parts[0].data, parts[0].bytes);
	((char *)out)[parts[0].bytes] = ' ';
	if (parts[1].bytes > 0)
		memcpy((char *)out + parts[0].bytes + 1, parts[1].data, parts[1].bytes);
	return 0;
}
