"""Muon for the matrices inside the layers, AdamW for the rest; two processes of one thread each.

On a busy machine, two processes that synchronise once per step lose less time than two threads that synchronise in
every operation. Each process has its half of the batch and steps its half of the parameters.
"""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing


class Optimiser:
    def __init__(self, module, rate, rank, world, outside=()):
        """outside: parts of the names of matrices that are tables or heads rather than layers."""
        self.rate, self.rank, self.world = rate, rank, world
        inner = lambda name, p: p.ndim == 2 and not any(part in name for part in outside)
        self.parameters, self.mine, cost = [], [], [0] * world
        matrices, others = [], []
        for name, p in module.named_parameters():
            if not p.requires_grad:
                continue
            owner = cost.index(min(cost)) if inner(name, p) else 0
            if inner(name, p):
                cost[owner] += p.numel() * min(p.shape)
            self.parameters.append(p)
            self.mine.append(owner == rank)
            if owner == rank:
                (matrices if inner(name, p) else others).append(p)
        self.parts = []
        if others:
            self.parts.append(torch.optim.AdamW(others, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)))
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, ns_steps=4,
                                               adjust_lr_fn="match_rms_adamw"))

    def step(self, fraction):
        """Parameters without a gradient stay as they are."""
        active = [(p, mine) for p, mine in zip(self.parameters, self.mine) if p.grad is not None]
        sizes = [p.numel() for p, _ in active]
        flat = torch.cat([p.grad.flatten() for p, _ in active])
        if self.world > 1:
            dist.all_reduce(flat)
            flat /= self.world
        flat *= min(1.0, 1.0 / (flat.norm().item() + 1e-6))
        for (p, _), g in zip(active, flat.split(sizes)):
            p.grad = g.view_as(p)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.rate * fraction
            part.step()
        with torch.no_grad():
            if self.world > 1:  # each process sends the parameters that it stepped
                flat = torch.cat([p.flatten() if mine else torch.zeros(p.numel()) for p, mine in active])
                dist.all_reduce(flat)
                for (p, _), value in zip(active, flat.split(sizes)):
                    p.copy_(value.view_as(p))
            for p in self.parameters:
                p.grad = None

    def state_dict(self):
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states):
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)


def agree(value):
    """The first process's number, in every process, so that all stop at the same step."""
    tensor = torch.tensor([value], dtype=torch.float64)
    if dist.is_initialized():
        dist.broadcast(tensor, 0)
    return tensor.item()


def _start(rank, work, world, port, arguments):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    work(rank, world, *arguments)


def run(work, world, port, *arguments):
    torch.multiprocessing.spawn(_start, (work, world, port, arguments), nprocs=world)
