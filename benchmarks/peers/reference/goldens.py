"""The golden files, one function each. A tensor is stored with the call that made it."""
import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps
from PIL import Image

from .adapters import LORA_TARGETS, add_adapter, load_with_diffusers, write_adapters
from .folder import randn, record

GLANCE_STEPS = [0, 2, 4, 6, 8, 10, 20, 30, 40, 49]  # of fifty: five slow, five fast
# The same steps at 1024x1024, as the training code lists them.
GLANCE_TIMESTEPS = [1000, 986.9786, 973.2042, 958.6094, 943.1188, 926.6473, 825.7017, 677.9868, 441.1997, 60.5503]


def drawn(latents, seed):
    """The call that made these latents, in words that tests can read."""
    return f"torch.randn({','.join(map(str, latents.shape))},generator=manual_seed({seed}))"


def grid(pipe, size):
    """Height and width in tokens."""
    return [n // (2 * pipe.vae_scale_factor) for n in size]


def mu_of(pipe, size):
    config = pipe.scheduler.config
    return calculate_shift(int(np.prod(grid(pipe, size))), config.base_image_seq_len, config.max_image_seq_len,
                           config.base_shift, config.max_shift)


def schedule(pipe, size, steps):
    """sigmas (steps + 1 of them) and timesteps, as the pipeline asks the scheduler for them."""
    retrieve_timesteps(pipe.scheduler, steps, sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu_of(pipe, size))
    return pipe.scheduler.sigmas.clone(), pipe.scheduler.timesteps.clone()


def noise(pipe, seed, batch, size):
    """Initial latents as the pipeline draws them, and packed."""
    shape = batch, pipe.transformer.config.in_channels // 4, *(2 * n for n in grid(pipe, size))
    latents = randn(seed, *shape)
    return latents, pipe._pack_latents(latents, *shape)


def image_ids(pipe, size):
    return pipe._prepare_latent_image_ids(1, *grid(pipe, size), "cpu", torch.float32)


def decode(pipe, latents):
    """Unpacked latents -> (decoder output, NHWC bytes by the pipeline's own rounding)."""
    out = pipe.vae.decode(latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor)[0]
    return out, to_uint8(pipe, pipe.image_processor.postprocess(out, output_type="pt"))


def to_uint8(pipe, picture):
    pil = pipe.image_processor.numpy_to_pil(pipe.image_processor.pt_to_numpy(picture))
    return torch.from_numpy(np.stack([np.array(image) for image in pil]))


def prompt_of(profile):
    return profile["gen_prompts"] or profile["gen_prompt"]


# ---- one function per golden file ----

def flux_text(ref, pipe, prompts):
    tensors = {}
    for name, tokenizer, length in (("clip_input_ids", "tokenizer", pipe.tokenizer_max_length),
                                    ("t5_input_ids", "tokenizer_2", 512), ("t5_input_ids_40", "tokenizer_2", 40)):
        ids = getattr(pipe, tokenizer)(prompts, padding="max_length", max_length=length, truncation=True,
                                       return_tensors="pt").input_ids
        tensors[name] = ids, f"pipe.{tokenizer}(prompts,padding='max_length',max_length={length},truncation=True)"
    for name, tokenizer in (("clip", "tokenizer"), ("t5", "tokenizer_2")):
        tensors[f"{name}_untruncated_lengths"] = (
            torch.tensor([len(getattr(pipe, tokenizer)(p).input_ids) for p in prompts]),
            f"len(pipe.{tokenizer}(p).input_ids)")
    out = pipe.text_encoder(tensors["clip_input_ids"][0], output_hidden_states=True)
    call = "pipe.text_encoder(clip_input_ids)"
    tensors["clip_pooled"] = out.pooler_output, f"{call}.pooler_output (no attention_mask is passed)"
    tensors["clip_last_hidden_prompt1"] = out.last_hidden_state[1:2], f"{call}.last_hidden_state[1:2]"
    for i, hidden in enumerate(out.hidden_states):
        tensors[f"clip_hidden_{i}_prompt1"] = hidden[1:2], f"{call}.hidden_states[{i}][1:2]"
    out = pipe.text_encoder_2(tensors["t5_input_ids_40"][0], output_hidden_states=True)
    call = "pipe.text_encoder_2(t5_input_ids_40)"
    tensors["t5_out_40"] = out[0], f"{call}[0] (NO attention mask: pad tokens are attended)"
    for i, hidden in enumerate(out.hidden_states):
        tensors[f"t5_hidden_{i}_prompt1_40"] = hidden[1:2], f"{call}.hidden_states[{i}][1:2]"
    rows = [0, 1, 7, 15, 31, 100, 300, 510, 511]
    tensors["t5_out_512_prompts13_rows"] = (pipe.text_encoder_2(tensors["t5_input_ids"][0][[1, 3]])[0][:, rows],
                                            f"pipe.text_encoder_2(t5_input_ids[[1,3]])[0][:, [{','.join(map(str, rows))}]]")
    embeds, pooled, text_ids = pipe.encode_prompt(prompts[1:3], max_sequence_length=32, num_images_per_prompt=2)
    call = "pipe.encode_prompt([prompts[1],prompts[2]],None,max_sequence_length=32,num_images_per_prompt=2)"
    tensors["encode_prompt.embeds"] = embeds, f"{call}[0]"
    tensors["encode_prompt.pooled"] = pooled, f"{call}[1]"
    tensors["encode_prompt.text_ids"] = text_ids, f"{call}[2] (2-D: no batch axis)"
    embeds, pooled, _ = pipe.encode_prompt(prompts[1], prompt_2=prompts[2], max_sequence_length=64)
    call = "pipe.encode_prompt(prompts[1], prompt_2=prompts[2], max_sequence_length=64)"
    tensors["encode_prompt_two.embeds"] = embeds, f"{call}[0]"
    tensors["encode_prompt_two.pooled"] = pooled, f"{call}[1]"
    ref.write("flux_text", tensors, prompts=prompts)


def flux_scheduler(ref, pipe, profile):
    tensors, rows, seed = {}, [], profile["seed"] + 900
    for height, width in profile["sched_res"]:
        for steps in profile["sched_steps"]:
            mu, name = mu_of(pipe, (height, width)), f"h{height}w{width}.n{steps}"
            sigmas, timesteps = schedule(pipe, (height, width), steps)
            call = f"retrieve_timesteps(scheduler,{steps},sigmas=np.linspace(1,1/{steps},{steps}),mu={mu})"
            tensors[f"{name}.sigmas"] = sigmas, f"{call}; scheduler.sigmas"
            tensors[f"{name}.timesteps"] = timesteps, "same call; scheduler.timesteps"
            rows.append({"height": height, "width": width, "image_seq_len": int(np.prod(grid(pipe, (height, width)))),
                         "steps": steps, "mu": mu})
    fresh = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)
    tensors["fresh.sigmas"] = fresh.sigmas, "a new scheduler's sigmas (no set_timesteps: the unshifted training grid)"
    tensors["fresh.timesteps"] = fresh.timesteps, "same; .timesteps"
    fresh.set_timesteps(sigmas=np.linspace(1, 1 / 4, 4), mu=0.7)
    sample = randn(seed, profile["batch"], 6, 8)
    tensors["step.sample0"] = sample, "randn"
    for i, t in enumerate(fresh.timesteps):
        output = randn(seed + 1 + i, *sample.shape)
        sample = fresh.step(output, t, sample, return_dict=False)[0]
        tensors[f"step.model_output{i}"] = output, "randn"
        tensors[f"step.sample{i + 1}"] = (
            sample, f"scheduler.step(model_output{i}, timesteps[{i}], sample{i}) with 4 steps, mu=0.7")
    ref.write("flux_scheduler", tensors, config=dict(pipe.scheduler.config), rows=rows)


def forward_inputs(pipe, profile, tensors):
    """Inputs of one forward, also put into tensors."""
    seed, batch, size, config = profile["seed"], profile["batch"], profile["fwd_size"], pipe.transformer.config
    latents, packed = noise(pipe, seed + 10, batch, size)
    img_ids, txt_ids = image_ids(pipe, size), torch.zeros(profile["fwd_txt"], 3)
    tensors["latents"] = latents, drawn(latents, seed + 10)
    tensors["latents_packed"] = packed, "FluxPipeline._pack_latents(latents)"
    tensors["latents_unpacked"] = (pipe._unpack_latents(packed, *size, pipe.vae_scale_factor),
                                   "FluxPipeline._unpack_latents(latents_packed,height,width,scale) == latents")
    tensors["img_ids"] = img_ids, "FluxPipeline._prepare_latent_image_ids"
    tensors["txt_ids"] = txt_ids, "torch.zeros(n_txt,3)"
    big = torch.tensor([[0, 0, 0], [0, 1, 2], [0, 63, 127], [0, 255, 17], [0, 4095, 4095]]).float()
    tensors["rope_big_ids"] = big, "literal"
    for name, points in (("rope", torch.cat([txt_ids, img_ids])), ("rope_big", big)):
        cos, sin = pipe.transformer.pos_embed(points)
        tensors[f"{name}_cos"] = cos, "transformer.pos_embed(ids)[0] (float64 inside, float32 out, pairs repeated)"
        tensors[f"{name}_sin"] = sin, "same [1]"
    # Every row of a batch gets its own noise level and guidance, so that mixing up rows shows.
    inputs = {"encoder_hidden_states": randn(seed + 11, batch, profile["fwd_txt"], config.joint_attention_dim),
              "pooled_projections": randn(seed + 12, batch, config.pooled_projection_dim),
              "timestep": torch.tensor([profile["fwd_timestep"] / (1 + i) for i in range(batch)])}
    if config.guidance_embeds:
        inputs["guidance"] = torch.tensor([profile["guidance"] + i for i in range(batch)])
    for name, value in inputs.items():
        tensors[f"in.{name}"] = value, "randn" if value.ndim > 1 else "literal; value handed to transformer.forward"
    return inputs | {"hidden_states": packed, "img_ids": img_ids, "txt_ids": txt_ids}


def forward_sites(config):
    """Modules whose outputs are stored: everything once, the first block of each kind in detail, every block's end."""
    blocks = ([f"transformer_blocks.{i}" for i in range(config.num_layers)]
              + [f"single_transformer_blocks.{i}" for i in range(config.num_single_layers)])
    sites = ["x_embedder", "context_embedder", "norm_out", "proj_out", "time_text_embed"]
    sites += [f"time_text_embed.{x}" for x in ("time_proj", "timestep_embedder", "text_embedder")]
    if config.guidance_embeds:
        sites.append("time_text_embed.guidance_embedder")
    sites += [f"transformer_blocks.0.{x}" for x in (
        "norm1", "norm1_context", "attn.to_q", "attn.norm_q", "attn.norm_added_k", "attn", "ff", "ff_context")]
    if config.num_single_layers:
        sites += [f"single_transformer_blocks.0.{x}" for x in ("norm", "proj_mlp", "attn", "proj_out")]
    return blocks, sites + blocks


def flux_transformer(ref, pipe, profile):
    """One forward with everything inside it, then adapters; leaves both adapters on the transformer."""
    model, tensors = pipe.transformer, {}
    inputs = forward_inputs(pipe, profile, tensors)
    blocks, sites = forward_sites(model.config)

    def forward(name, call, sites=(), **more):
        handles = record(model, sites, name, tensors, "output of transformer.{}: " + call)
        tensors[f"{name}.output"] = model(**inputs, **more, return_dict=False)[0], call
        for handle in handles:
            handle.remove()

    forward("fwd", "transformer(**in)[0]; blocks return (encoder_hidden_states, hidden_states)", sites)
    configs = {name: add_adapter(model, name, profile, profile["seed"] + start)
               for name, start in (("slow", 50), ("fast", 60))}
    lora = f"LoraConfig(r={profile['lora_rank_flux']},lora_alpha={profile['lora_alpha']},target_modules={LORA_TARGETS})"
    model.set_adapters(["fast"])
    forward("lora_fast", f"adapter 'fast' active, scale alpha/r, {lora}")
    model.set_adapters(["slow"])
    forward("lora_slow", f"adapter 'slow' active, scale alpha/r, {lora}", blocks)
    forward("lora_slow.scale0.5", "transformer(**in, joint_attention_kwargs={'scale':0.5})[0]",
            joint_attention_kwargs={"scale": 0.5})
    model.set_adapters(["slow", "fast"], [0.7, 0.3])
    forward("lora_mix", "transformer.set_adapters(['slow','fast'],[0.7,0.3])")
    model.disable_adapters()
    forward("lora_disabled", "transformer.disable_adapters(); equals fwd.output")
    model.enable_adapters()
    model.set_adapters(["slow"])
    model.fuse_lora(adapter_names=["slow"])
    forward("lora_slow_fused", "transformer.fuse_lora(adapter_names=['slow'])")
    merged = model.get_submodule("transformer_blocks.0.attn.to_q").base_layer.weight
    tensors["lora_slow_fused.weight.transformer_blocks.0.attn.to_q"] = merged.clone(), "merged base weight"
    model.unfuse_lora()
    forward("lora_slow_unfused_again", "transformer.unfuse_lora(); adapter active again")
    ref.write("flux_transformer", tensors, height=profile["fwd_size"][0], width=profile["fwd_size"][1])
    return configs


def flux_generate(ref, pipe, profile):
    (height, width), steps, seed = profile["size"], profile["gen_steps"], profile["seed"] + 70
    prompt = prompt_of(profile)
    call = (f"pipe(prompt={prompt!r},height={height},width={width},num_inference_steps={steps},"
            f"guidance_scale={profile['guidance']},generator=manual_seed({seed}),output_type='pt')")
    embeds, pooled, _ = pipe.encode_prompt(prompt)
    latents, packed = noise(pipe, seed, profile["batch"], profile["size"])
    tensors = {"pooled_prompt_embeds": (pooled, "pipe.encode_prompt(prompt)[1]"),
               "prompt_embeds_first16": (embeds[:, :16], "pipe.encode_prompt(prompt)[0][:,:16] (full length 512)"),
               "init_latents_4d": (latents, drawn(latents, seed)),
               "init_latents_packed": (packed, "FluxPipeline._pack_latents(init_latents_4d)")}
    outputs = []
    handle = pipe.transformer.register_forward_hook(lambda _, __, output: outputs.append(output[0]))

    def each_step(_, step, timestep, values):
        tensors[f"latents_after_step{step}"] = (
            values["latents"], f"{call} callback_on_step_end step {step}, t={timestep.item()}")
        if step in (0, steps - 1):
            tensors[f"noise_pred_step{step}"] = outputs[-1], "transformer output at that step"
        return values

    picture = pipe(prompt, height=height, width=width, num_inference_steps=steps, guidance_scale=profile["guidance"],
                   generator=torch.Generator("cpu").manual_seed(seed), output_type="pt",
                   callback_on_step_end=each_step).images
    handle.remove()
    tensors["sigmas"] = pipe.scheduler.sigmas, "pipe.scheduler.sigmas after the call"
    tensors["timesteps"] = pipe.scheduler.timesteps, "pipe.scheduler.timesteps after the call"
    tensors["image_float"] = picture, f"{call}.images (0..1, NCHW)"
    tensors["image_uint8"] = to_uint8(pipe, picture), "PIL output of the same call (NHWC)"
    for i, image in enumerate(tensors["image_uint8"][0]):
        ref.save_picture(f"flux_generate_{i}.png", image)
    ref.write("flux_generate", tensors, prompt=prompt, call=call)


def drawn_picture(height, width, seed):
    """Smooth colours under fine noise, so that every frequency passes the encoder."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = torch.stack([torch.sin(7 * x + 2 * y), torch.cos(3 * x - 6 * y), torch.sin(5 * x * y + 1)], -1)
    return (127 + 90 * waves + 15 * randn(seed, height, width, 3)).clamp(0, 255).to(torch.uint8)


def flux_vae(ref, pipe, profile, picture):
    """One picture whatever the batch: a VAE has nothing that could mix rows up."""
    vae, seed, tensors = pipe.vae, profile["seed"] + 80, {}
    rgb = (torch.from_numpy(np.array(Image.open(picture).convert("RGB"))) if picture
           else drawn_picture(*profile["size"], seed))
    pixels = pipe.image_processor.preprocess(Image.fromarray(rgb.numpy()))
    tensors["image_uint8"] = rgb, "test picture (HWC)"
    tensors["image_preprocessed"] = pixels, "pipe.image_processor.preprocess(PIL) -> [-1,1] NCHW"
    found = vae.encode(pixels).latent_dist
    tensors["encode.mean"] = found.mean, "vae.encode(x).latent_dist.mean"
    tensors["encode.logvar"] = found.logvar, "vae.encode(x).latent_dist.logvar (clamped to [-30,20])"
    tensors["encode.mode"] = found.mode(), "latent_dist.mode() == mean"
    tensors["encode.noise"] = randn(seed + 1, *found.mean.shape), f"randn seed {seed + 1}"
    tensors["encode.sample"] = (found.sample(generator=torch.Generator("cpu").manual_seed(seed + 1)),
                                f"latent_dist.sample(generator=manual_seed({seed + 1})) = mean+exp(0.5*logvar)*noise")
    tensors["latent_scaled"] = ((found.mode() - vae.config.shift_factor) * vae.config.scaling_factor,
                                "(mode - shift_factor) * scaling_factor")
    latents = randn(seed + 2, *found.mean.shape)
    tensors["decode.in"] = latents, "randn"
    handles = record(vae, ["decoder.conv_in", "decoder.mid_block", "decoder.up_blocks.0"], "decode", tensors,
                     "output of vae.{}")
    out, rounded = decode(pipe, latents)
    for handle in handles:
        handle.remove()
    tensors["decode.out"] = out, "vae.decode(in/scaling_factor+shift_factor)[0]"
    tensors["decode.uint8"] = rounded[0], "postprocess -> PIL -> HWC uint8"
    ref.save_picture("vae_input.png", rgb)
    ref.write("flux_vae", tensors)


def flux_adapters(ref, pipe, profile, configs, folder):
    expected, notes = write_adapters(ref.out / "adapters" / "flux", pipe.transformer, configs, profile)
    tensors = {f"{name}.{module}": (delta, "lora_B @ lora_A * (alpha/r)") for name, modules in expected.items()
               for module, delta in modules.items() if "_blocks.0." in module and name != "fast"}
    ref.write("flux_adapter_deltas", tensors,
              note="effective weight deltas of the block-0 modules; 'official' and 'plain' give these / (alpha/r)")
    fresh = FluxPipeline.from_pretrained(folder)
    for name, made_by in sorted(notes.items()):
        wanted = expected["kohya_dense_qkv"] if "dense" in name else expected[name.split(".")[0]]
        path = f"adapters/flux/{name}"
        found = load_with_diffusers(fresh, ref.out / path, wanted)
        ref.manifest["adapters"][path] = {"made_by": made_by, "diffusers": found}


def plan_official(pipe, size):
    """What the released inference code does: listed timesteps in bfloat16, steps along the scheduler's own sigmas."""
    slow, fast = schedule(pipe, size, 50)[0][:6], schedule(pipe, size, 5)[0]
    return (torch.tensor(GLANCE_TIMESTEPS).bfloat16().float(), torch.cat([slow[:-1], fast[:-1]]),
            torch.cat([slow[1:], fast[1:]]))


def plan_consistent():
    timesteps = torch.tensor(GLANCE_TIMESTEPS)
    sigmas = torch.cat([timesteps / 1000, torch.zeros(1)])
    return timesteps, sigmas[:-1], sigmas[1:]


def put_plan(tensors, name, plan, says):
    timesteps, start, end = plan
    tensors[f"{name}.timesteps"] = timesteps, f"{says}: timestep the transformer is conditioned on"
    tensors[f"{name}.sigma_from"] = start, "scheduler sigma at the step"
    tensors[f"{name}.sigma_to"] = end, "scheduler sigma after the step"
    tensors[f"{name}.dt"] = end - start, "sigma_to - sigma_from: the Euler step"


def glance_schedules(ref, pipe, profile):
    tensors, rows = {}, {}
    for size in profile["glance_res"]:
        name, mu, plan = f"{size[0]}x{size[1]}", mu_of(pipe, size), plan_official(pipe, size)
        put_plan(tensors, f"flux.official.{name}", plan, f"official plan at {name} (mu={mu})")
        tensors[f"flux.resolution_aware.{name}.sigmas"] = (
            torch.cat([schedule(pipe, size, 50)[0][GLANCE_STEPS], torch.zeros(1)]),
            f"50-step schedule at {name}, entries {GLANCE_STEPS}, then 0")
        sigmas, end = plan[1].tolist(), plan[2][4].item()
        rows[f"flux.{name}"] = {"mu": mu, "slow_sum_dt": end - 1, "fast_sum_dt": -1.0, "total": end - 2,
                                "sigma_after_slow": end, "slow_sigmas": sigmas[:5] + [end],
                                "fast_sigmas": sigmas[5:] + [0.0]}
    put_plan(tensors, "flux.consistent", plan_consistent(), "sigma=t/1000 of the ten listed timesteps, then 0")
    ref.manifest["glance_findings"]["schedule_rows"] = rows
    ref.write("glance_schedules", tensors, rows=rows)


def glance_flux(ref, pipe, profile):
    size, seed, batch, model = profile["glance_size"], profile["seed"] + 300, profile["batch"], pipe.transformer
    prompt, tensors = prompt_of(profile), {}
    embeds, pooled, txt_ids = pipe.encode_prompt(prompt, max_sequence_length=32)
    latents, start = noise(pipe, seed, batch, size)
    img_ids = image_ids(pipe, size)
    guidance = torch.full([batch], profile["guidance"]) if model.config.guidance_embeds else None
    tensors["init_latents_packed"] = start, f"_pack_latents({drawn(latents, seed)})"
    tensors["prompt_embeds"] = embeds, "pipe.encode_prompt(prompt,max_sequence_length=32)[0]"
    tensors["pooled_prompt_embeds"] = pooled, "same [1]"
    plans = {"official": plan_official(pipe, size), "consistent": plan_consistent()}
    for name, plan in plans.items():
        put_plan(tensors, name, plan, name)

    def walk(name, plan, strength):
        latents = start
        for i, (t, sigma, following) in enumerate(zip(*plan)):
            phase = "slow" if i < 5 else "fast"
            model.set_adapters([phase], [strength])
            velocity = model(hidden_states=latents, timestep=(t / 1000).expand(batch), guidance=guidance,
                             pooled_projections=pooled, encoder_hidden_states=embeds, txt_ids=txt_ids,
                             img_ids=img_ids, return_dict=False)[0]
            latents = latents + (following - sigma) * velocity
            tensors[f"{name}.{phase}.latents_after_step{i % 5}"] = latents, f"phase {phase}, Euler step {i % 5}"
        unpacked = pipe._unpack_latents(latents, *size, pipe.vae_scale_factor)
        tensors[f"{name}.image_uint8"] = decode(pipe, unpacked)[1], "VAE decode of the last latents, NHWC"

    walk("official", plans["official"], 1.0)
    walk("consistent", plans["consistent"], 1.0)
    walk("consistent_scale1", plans["consistent"], profile["lora_rank_flux"] / profile["lora_alpha"])
    ref.write("glance_flux", tensors, prompt=prompt, height=size[0], width=size[1], guidance=profile["guidance"],
              adapters="adapters/flux/{slow,fast}.metadata.safetensors (scale alpha/r); *_scale1 = with scale 1",
              note="'official' is the released inference code's scheme, 'consistent' ten steps of one schedule")
