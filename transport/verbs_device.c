/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/verbs_port.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/*
 * Devices. A region of the port's memory is registered when a buffer in it is first sent from or
 * received into by the device, for local use alone, and stays so until its owner says that it goes:
 * for a process that is its whole pool, once.
 */

#define TAKE 32u /* completions at once */
#define INLINE_WANTED 512u

/* A library may give up without saying why (libsiw does): errno is then of an earlier call. */
static int error_now(void)
{
	return errno != 0 ? -errno : -EIO;
}

static int add_fd(struct praas_verbs_port *port, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return -errno;
	return 0;
}

/* ---- regions ---- */

static int add_region(void *user, const struct praas_region *region, void **ret_handle)
{
	struct praas_verbs_device *d = user;
	struct ibv_mr *mr =
		ibv_reg_mr(d->pd, region->base, region->bytes, IBV_ACCESS_LOCAL_WRITE);

	if (!mr)
		return -errno;
	*ret_handle = mr;
	d->port->stats.registrations++;
	return 0;
}

static void remove_region(void *user, void *handle)
{
	(void)user;
	(void)ibv_dereg_mr(handle); /* nothing uses it */
}

/* ---- siw's place that is none ---- */

#define SIW_VENDOR 0x626d74u
#define SIW_COVER_CQES 32768 /* 256 pages: across page 0x90 when it is the first */
#define SIW_CONTEXTS 8u

/*
 * Queues of siw are mapped at offsets that the kernel gives out from 0 on, page by page. Its library
 * takes one of them, page 0x90, for "there is none" (SIW_INVAL_UOBJ_KEY), so the queue whose turn
 * that would be, and each that is tried after it, cannot be made: a connection that fails for no
 * reason that anybody could see. A queue that nobody uses, the first of the context and there as
 * long as the context is, lies across that page. Without memory for it all is as it would have been.
 */
static void siw_cover(struct ibv_context *context)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct {
		const struct ibv_context *context;
		struct ibv_cq *cq;
	} covers[SIW_CONTEXTS];
	uint32_t i = 0;

	(void)pthread_mutex_lock(&lock); /* cannot fail: it is of the plain kind */
	while (i < SIW_CONTEXTS && covers[i].cq && covers[i].context != context)
		i++;
	if (i < SIW_CONTEXTS && !covers[i].cq) {
		covers[i].context = context;
		covers[i].cq = ibv_create_cq(context, SIW_COVER_CQES, NULL, NULL, 0);
	}
	(void)pthread_mutex_unlock(&lock); /* as above */
}

/* ---- devices ---- */

static void device_free(struct praas_verbs_device *device)
{
	praas_regions_free(device->regions);
	for (uint32_t i = 0; i < device->cqs; i++)
		(void)ibv_destroy_cq(device->cq[i]); /* its queue pairs are gone */
	if (device->channel)
		(void)ibv_destroy_comp_channel(device->channel); /* as above */
	if (device->pd)
		(void)ibv_dealloc_pd(device->pd); /* as above */
	free(device);
}

int praas_verbs_device_get(struct praas_verbs_port *port, struct ibv_context *context,
			   struct praas_verbs_device **ret_device)
{
	struct praas_regions_config regions = { .memory = port->config.memory,
						.add = add_region,
						.remove = remove_region };
	struct praas_verbs_device *d;
	struct ibv_device_attr attr;
	int rc;

	for (d = port->devices; d; d = d->next) {
		if (d->context == context) {
			*ret_device = d;
			return 0;
		}
	}
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->port = port;
	regions.user = d;
	d->context = context;
	d->inline_max = INLINE_WANTED;
	d->local = context->device->transport_type == IBV_TRANSPORT_IWARP;
	rc = -ibv_query_device(context, &attr);
	if (rc == 0 && attr.vendor_id == SIW_VENDOR)
		siw_cover(context);
	if (rc == 0)
		rc = praas_regions_new(&regions, &d->regions);
	if (rc != 0)
		goto err;
	d->cqe = (int)praas_min_u64(
		PRAAS_VERBS_GROUP_CQES / PRAAS_VERBS_GROUP *
			praas_min_u64(PRAAS_VERBS_GROUP, port->config.conns_max),
		(uint64_t)attr.max_cqe);
	d->pd = ibv_alloc_pd(context);
	d->channel = d->pd ? ibv_create_comp_channel(context) : NULL;
	rc = d->channel ? add_fd(port, d->channel->fd) : -errno;
	if (rc == 0)
		rc = add_fd(port, context->async_fd);
	if (rc != 0)
		goto err;
	d->next = port->devices;
	port->devices = d;
	*ret_device = d;
	return 0;
err:
	device_free(d);
	return rc;
}

void praas_verbs_devices_free(struct praas_verbs_port *port)
{
	while (port->devices) {
		struct praas_verbs_device *d = port->devices;

		port->devices = d->next;
		/* The context is the whole program's: librdmacm keeps it open. */
		(void)epoll_ctl(port->epoll_fd, EPOLL_CTL_DEL, d->context->async_fd,
				NULL); /* was added */
		device_free(d);
	}
}

int praas_verbs_group_take(struct praas_verbs_device *device, uint32_t *ret_group)
{
	uint32_t each =
		(uint32_t)device->cqe * PRAAS_VERBS_GROUP / PRAAS_VERBS_GROUP_CQES;

	for (uint32_t i = 0; i < device->cqs; i++) {
		if (device->cq_conns[i] < each) {
			device->cq_conns[i]++;
			*ret_group = i;
			return 0;
		}
	}
	if (device->cqs == PRAAS_VERBS_GROUPS || each == 0)
		return -ENOBUFS;
	errno = 0;
	device->cq[device->cqs] =
		ibv_create_cq(device->context, device->cqe, device, device->channel, 0);
	if (!device->cq[device->cqs])
		return error_now();
	device->cq_conns[device->cqs] = 1;
	*ret_group = device->cqs++;
	return 0;
}

int praas_verbs_qp_new(struct praas_verbs_conn *conn, struct rdma_cm_id *id, bool bulk)
{
	struct praas_verbs_device *d = conn->device;
	struct ibv_qp_init_attr attr = {
		.qp_context = conn,
		.send_cq = d->cq[conn->group],
		.recv_cq = d->cq[conn->group],
		.qp_type = IBV_QPT_RC,
	};

	attr.cap.max_send_wr = bulk ? PRAAS_VERBS_PIECES : conn->sends;
	attr.cap.max_recv_wr = bulk ? PRAAS_VERBS_PIECES : conn->slots;
	attr.cap.max_send_sge = bulk ? 1 : 2;
	attr.cap.max_recv_sge = 1;
	/* How much goes into a work request is found out by asking. */
	for (;;) {
		struct ibv_qp_init_attr asked = attr;

		asked.cap.max_inline_data = bulk ? 0 : d->inline_max;
		errno = 0;
		if (rdma_create_qp(id, d->pd, &asked) == 0) {
			if (!bulk)
				conn->inline_max = asked.cap.max_inline_data;
			return 0;
		}
		if (bulk || d->inline_max == 0)
			return error_now();
		d->inline_max /= 2;
	}
}

int praas_verbs_lkey(struct praas_verbs_device *device, const struct praas_buf *buf,
		     uint32_t *ret_lkey)
{
	void *mr;
	int rc = praas_regions_find(device->regions, buf, &mr);

	if (rc == 0)
		*ret_lkey = ((struct ibv_mr *)mr)->lkey;
	return rc;
}

int praas_verbs_device_try(struct praas_verbs_port *port, struct ibv_context *context)
{
	const struct praas_memory *m = port->config.memory;
	struct praas_verbs_device *device;
	struct praas_buf *buf;
	uint32_t lkey;
	int rc = praas_verbs_device_get(port, context, &device);

	if (rc == 0)
		rc = m->alloc(m->user, 64, &buf);
	if (rc != 0)
		return rc;
	rc = praas_verbs_lkey(device, buf, &lkey);
	praas_buf_release(buf);
	return rc == -ENOENT ? -EINVAL : rc;
}

/* ---- completions ---- */

unsigned praas_verbs_devices_take(struct praas_verbs_port *port)
{
	struct ibv_wc wc[TAKE] PRAAS_UNINITIALIZED;
	unsigned taken = 0;

	for (struct praas_verbs_device *d = port->devices; d; d = d->next) {
		for (uint32_t i = 0; i < d->cqs; i++) {
			int n = ibv_poll_cq(d->cq[i], TAKE, wc);

			for (int k = 0; k < n; k++)
				praas_verbs_on_completion(port, &wc[k]);
			taken += n > 0 ? (unsigned)n : 0;
		}
	}
	port->stats.completions += taken;
	return taken;
}

bool praas_verbs_devices_arm(struct praas_verbs_port *port)
{
	for (struct praas_verbs_device *d = port->devices; d; d = d->next)
		for (uint32_t i = 0; i < d->cqs; i++)
			if (ibv_req_notify_cq(d->cq[i], 0) != 0)
				return true; /* no event would come */
	/* What was done before the asking makes no event. */
	return praas_verbs_devices_take(port) > 0;
}

static void async_events(struct praas_verbs_device *d)
{
	struct ibv_async_event event;

	while (ibv_get_async_event(d->context, &event) == 0) {
		enum ibv_event_type type = event.event_type;
		struct ibv_qp *qp = event.element.qp;

		/* What matters comes as completions in error too; this one may not. */
		if (type == IBV_EVENT_DEVICE_FATAL)
			for (struct praas_verbs_conn *c = d->port->conns; c;
			     c = c->next)
				if (c->device == d)
					praas_verbs_fail(c, -EIO);
		if (type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_REQ_ERR ||
		    type == IBV_EVENT_QP_ACCESS_ERR)
			for (struct praas_verbs_conn *c = d->port->conns; c;
			     c = c->next)
				if ((c->id && c->id->qp == qp) ||
				    (c->bulk_id && c->bulk_id->qp == qp))
					praas_verbs_fail(c, -EIO);
		ibv_ack_async_event(&event);
	}
}

void praas_verbs_devices_awake(struct praas_verbs_port *port)
{
	struct ibv_cq *cq;
	void *context;

	for (struct praas_verbs_device *d = port->devices; d; d = d->next) {
		while (ibv_get_cq_event(d->channel, &cq, &context) == 0)
			ibv_ack_cq_events(cq, 1);
		async_events(d);
	}
}
