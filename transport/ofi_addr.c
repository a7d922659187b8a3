/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/ofi_addr.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SCHEME "ofi://"
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define HEX "0123456789abcdef"

static int take(const char *from, size_t bytes, char *to, size_t room)
{
	if (bytes >= room)
		return -EINVAL;
	memcpy(to, from, bytes);
	to[bytes] = '\0';
	return 0;
}

/* Letters, digits, '_', '.', '-' and, between layers, '+'. */
static int parse_provider(const char *text, size_t bytes, struct praas_ofi_addr *addr)
{
	int rc = take(text, bytes, addr->provider, sizeof(addr->provider));
	char *plus;

	if (rc != 0 || bytes == 0 || strspn(text, PLAIN "+") < bytes)
		return -EINVAL;
	while ((plus = strchr(addr->provider, '+')) != NULL)
		*plus = ';';
	return 0;
}

static int parse_bytes(const char *hex, struct praas_ofi_addr *addr)
{
	size_t count = strlen(hex);

	if (count == 0 || count % 2 != 0 || count / 2 > sizeof(addr->name) ||
	    strspn(hex, HEX) != count)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		unsigned digit = (unsigned)(strchr(HEX, hex[i]) - HEX);

		addr->name[i / 2] = (uint8_t)((unsigned)addr->name[i / 2] << 4 | digit);
	}
	addr->name_bytes = (uint32_t)(count / 2);
	return 0;
}

static int parse_service(const char *text, struct praas_ofi_addr *addr)
{
	size_t digits = strspn(text, "0123456789");
	unsigned value = 0;

	if (digits == 0 || digits > 5 || text[digits] != '\0')
		return -EINVAL;
	for (size_t i = 0; i < digits; i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	if (value > 65535)
		return -EINVAL;
	return take(text, digits, addr->service, sizeof(addr->service));
}

static int parse_host(const char *text, struct praas_ofi_addr *addr)
{
	bool v6 = *text == '[';
	const char *end;
	int rc;

	text += v6;
	end = v6 ? strchr(text, ']') : text + strspn(text, PLAIN);
	if (end == NULL || end == text)
		return -EINVAL;
	rc = take(text, (size_t)(end - text), addr->node, sizeof(addr->node));
	if (rc != 0)
		return rc;
	if (v6 && strspn(addr->node, HEX "ABCDEF:.") != strlen(addr->node))
		return -EINVAL;
	end += v6;
	if (*end == '\0' && !v6)
		return 0; /* a name alone */
	return *end == ':' ? parse_service(end + 1, addr) : -EINVAL;
}

int praas_ofi_addr_parse(const char *text, struct praas_ofi_addr *ret_addr)
{
	struct praas_ofi_addr addr = { .name_bytes = 0 };
	const char *at;
	int rc;

	if (strncmp(text, SCHEME, strlen(SCHEME)) != 0)
		return -EINVAL;
	text += strlen(SCHEME);
	at = strchr(text, '@');
	if (at != NULL) {
		rc = parse_provider(text, (size_t)(at - text), &addr);
		if (rc != 0)
			return rc;
		text = at + 1;
	}
	if (strncmp(text, "0x", 2) == 0)
		rc = parse_bytes(text + 2, &addr);
	else
		rc = parse_host(text, &addr);
	if (rc == 0)
		*ret_addr = addr;
	return rc;
}

int praas_ofi_addr_format(const struct praas_ofi_addr *addr,
			  char ret_text[PRAAS_ADDR_MAX])
{
	char place[2 * PRAAS_OFI_NAME_MAX + 3];
	char provider[sizeof(addr->provider)];
	char *mark;
	int n;

	(void)snprintf(provider, sizeof(provider), "%s", addr->provider); /* fits */
	while ((mark = strchr(provider, ';')) != NULL)
		*mark = '+';
	if (addr->name_bytes > 0) {
		memcpy(place, "0x", 3);
		for (uint32_t i = 0; i < addr->name_bytes; i++)
			(void)snprintf(place + 2 + (size_t)2 * i, 3, "%02x",
				       addr->name[i]); /* fits */
	} else if (strchr(addr->node, ':') != NULL) {
		(void)snprintf(place, sizeof(place), "[%s]:%s", addr->node,
			       addr->service); /* fits */
	} else {
		(void)snprintf(place, sizeof(place), "%s%s%s", addr->node,
			       addr->service[0] ? ":" : "", addr->service); /* fits */
	}
	n = snprintf(ret_text, PRAAS_ADDR_MAX, SCHEME "%s%s%s", provider,
		     provider[0] ? "@" : "", place);
	return n < (int)PRAAS_ADDR_MAX ? 0 : -ENAMETOOLONG;
}
