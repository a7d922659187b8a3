/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/dpdk_config.h"

#include <errno.h>
#include <string.h>

#define MTU_MIN 640u
#define MTU_MAX 16384u

/* The value when word is "name=value". */
static const char *value_of(const char *word, const char *name)
{
	size_t bytes = strlen(name);

	return strncmp(word, name, bytes) == 0 && word[bytes] == '=' ? word + bytes + 1
								     : NULL;
}

static int parse_number(const char *text, uint32_t min, uint32_t max,
			uint32_t *ret_number)
{
	uint32_t number = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9' && p - text < 6; p++)
		number = number * 10 + (uint32_t)(*p - '0');
	if (*p != '\0' || number < min || number > max)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

static int parse_word(const char *word, struct praas_dpdk_device *d)
{
	uint8_t prefix;
	const char *v;

	if ((v = value_of(word, "dev")) != NULL) {
		d->dev = v;
		return *v != '\0' ? 0 : -EINVAL;
	}
	if ((v = value_of(word, "ip")) != NULL)
		return praas_inet_ip_parse(v, &d->ip, &d->prefix);
	if ((v = value_of(word, "gateway")) != NULL)
		return praas_inet_ip_parse(v, &d->gateway, &prefix);
	if ((v = value_of(word, "mtu")) != NULL)
		return parse_number(v, MTU_MIN, MTU_MAX, &d->mtu);
	if ((v = value_of(word, "ports")) != NULL)
		return parse_number(v, 1, PRAAS_DPDK_PORTS_MAX, &d->ports);
	v = value_of(word, "secure");
	if (v == NULL || (strcmp(v, "on") != 0 && strcmp(v, "off") != 0))
		return -EINVAL;
	d->clear = strcmp(v, "off") == 0;
	return 0;
}

static int parse_device(char *text, struct praas_dpdk_device *d, const char **ret_what)
{
	char *rest, *word = strtok_r(text, " \t\n", &rest);

	d->ports = 1;
	*ret_what = word;
	for (; word != NULL; word = strtok_r(NULL, " \t\n", &rest)) {
		*ret_what = word;
		if (parse_word(word, d) != 0)
			return -EINVAL;
	}
	if (d->dev == NULL || praas_inet_ip_is_none(&d->ip))
		return -EINVAL;
	if (!praas_inet_ip_is_none(&d->gateway) && d->gateway.v6 != d->ip.v6)
		return -EINVAL;
	return 0;
}

static int parse_args(char *text, struct praas_dpdk_config *c, const char **ret_what)
{
	char *rest, *word = strtok_r(text, " \t\n", &rest);

	for (; word != NULL; word = strtok_r(NULL, " \t\n", &rest)) {
		*ret_what = word;
		if (c->args == PRAAS_DPDK_ARGS_MAX)
			return -E2BIG;
		c->arg[c->args++] = word;
	}
	return 0;
}

int praas_dpdk_config_parse(const char *text, struct praas_dpdk_config *ret_config,
			    const char **ret_what)
{
	struct praas_dpdk_config *c = ret_config;
	char *rest, *part;
	int rc = 0;

	memset(c, 0, sizeof(*c));
	*ret_what = text;
	if (strlen(text) >= sizeof(c->text))
		return -EMSGSIZE;
	memcpy(c->text, text, strlen(text) + 1);
	for (part = strtok_r(c->text, ";", &rest); part != NULL && rc == 0;
	     part = strtok_r(NULL, ";", &rest)) {
		part += strspn(part, " \t\n");
		if (*part == '\0')
			continue;
		if (strncmp(part, "eal=", 4) == 0) {
			rc = parse_args(part + 4, c, ret_what);
			continue;
		}
		if (c->devices == PRAAS_DPDK_DEVICES_MAX)
			return -E2BIG;
		rc = parse_device(part, &c->device[c->devices++], ret_what);
	}
	if (rc == 0 && c->devices == 0)
		rc = -EINVAL;
	return rc;
}
