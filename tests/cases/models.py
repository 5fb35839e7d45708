"""Cases of the networks in `jaxnets.models`, as small as they can be made."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import models
from tests.cases.case import Case
from tests.oracles import normal


def network(name, model, inputs, **settings):
    """The case of a model in training, its key passed on."""

    def apply(params, state, inputs, key):
        return model.apply(params, state, inputs, key=key, train=settings.get("train", True))

    properties = {"uses": 512, **{key: value for key, value in settings.items() if key != "train"}}
    return Case(name, (), model.spec, apply, inputs, **properties)


IDS = np.array([[0, 1, 4], [3, 2, 2]])


def of_ids(name, model, ids=IDS, **settings):
    """The case of a network of ids; as in mixed precision, the parameters come in the dtype in which to compute."""

    def apply(params, state, inputs, key):
        cast = jax.tree.map(lambda p: p.astype(inputs["dtype"].dtype), params)
        return model.apply(cast, state, inputs["ids"], key=key, train=True)

    inputs = {"ids": ids, "dtype": normal(1)}
    return Case(name, (), model.spec, apply, inputs, **settings)


def small_image(size=32):
    return normal(2, size, size, 3)


def clip(**settings):
    small = {f"{kind}_{name}": size for kind in ("image", "text") for name, size in SMALL_TOWER.items()}
    return models.clip(models.CLIPConfig(**small, vocabulary=5, context=4, embedding=3, **settings))


SMALL_TOWER = {"layers": 1, "heads": 2, "features": 4}


def of_pairs(name, model, images, ids=IDS, **settings):
    """The case of a network of pairs of images and ids; its parameters come in the images' dtype."""

    def apply(params, state, inputs, key):
        cast = jax.tree.map(lambda p: p.astype(inputs["images"].dtype), params)
        pairs = models.CLIPInputs(inputs["images"], inputs["ids"])
        (found, texts, log_scale), state = model.apply(cast, state, pairs, key=key, train=True)
        return (found * jnp.exp(log_scale), texts), state  # every output has an axis of examples

    return Case(name, (), model.spec, apply, {"images": images, "ids": ids}, **settings)


def vgg(**settings):
    return models.vgg(models.VGGConfig(11, 3, pooled=1, hidden=(5,), width=1 / 32, **settings))


def resnet(depth):
    return models.resnet(models.ResNetConfig(depth, 3, width=2))


CASES = [
    network("lenet5", models.lenet5(), normal(2, 28, 28, 1), tolerance=1e-4),
    network("mnist-cnn", models.mnist_cnn(models.MnistCNNConfig(12, 12)), normal(2, 12, 12, 1), random=True, slow=True),
    network("vgg11", vgg(), small_image(), random=True, noise=0.25, slow=True),
    network("vgg11-bn", vgg(norm=True, dropout_rate=0.0), small_image(), train=False, slow=True),
    network("resnet18", resnet(18), small_image(), train=False, slow=True),
    network("resnet50", resnet(50), small_image(), train=False, slow=True),
    network(
        "cifar-resnet14",
        models.cifar_resnet(models.CifarResNetConfig(14, 3, width=2)),
        small_image(8),
        needs_examples=True,
        slow=True,
    ),
    network(
        "googlenet",
        models.googlenet(models.GoogLeNetConfig(3, small_images=True, width=1 / 16)),
        small_image(16),
        random=True,
        needs_examples=True,
        slow=True,
        step=1e-8,
        tolerance=1e-4,
    ),
    network(
        "efficientnet-lite",
        models.efficientnet_lite(models.EfficientNetLiteConfig(3, width=0.1, depth=0.1)),
        small_image(16),
        train=False,
        noise=0.2,
        tolerance=1e-4,
        slow=True,
    ),
    network(
        "segmentation-unet",
        models.segmentation_unet(models.SegmentationUNetConfig(3, width=2, levels=1, dropout_rate=0.2)),
        small_image(5),
        random=True,
    ),
    network(
        "segmentation-unet-bilinear",
        models.segmentation_unet(models.SegmentationUNetConfig(3, width=2, levels=2, norm=True, upsampling="bilinear")),
        small_image(6),
        train=False,
        slow=True,
    ),
    of_ids("char-rnn", models.char_rnn(models.CharRNNConfig(5, cell="gru", hidden=4, layers=2))),
    of_ids(
        "sentence-cnn",
        models.sentence_cnn(models.SentenceCNNConfig(5, 3, features=4, widths=(2, 3), channels=4)),
        random=True,
        uses=512,
    ),
    of_ids("sentence-lstm", models.sentence_lstm(models.SentenceLSTMConfig(5, 3, features=4, hidden=4)), random=True),
    of_ids(
        "gpt",
        models.gpt(models.GPTConfig(5, 4, layers=2, heads=2, features=4, dropout_rate=0.2, attention_dropout_rate=0.2)),
        random=True,
        slow=True,
    ),
    of_ids("gpt-no-dropout", models.gpt(models.GPTConfig(5, 4, layers=1, heads=2, features=4)), slow=True),
    of_ids(
        "llama", models.llama(models.LlamaConfig(5, layers=1, heads=2, kv_heads=1, features=4, hidden=6)), slow=True
    ),
    of_ids(
        "bert",
        models.bert(models.BertConfig(5, 4, layers=1, heads=2, features=4, hidden=6)),
        models.BertInputs(IDS, np.array([[1, 1, 1], [1, 1, 0]], bool), np.array([[0, 0, 1], [0, 1, 1]])),
        slow=True,
    ),
    of_ids(
        "transformer",
        models.transformer(models.TransformerConfig(5, 5, layers=1, heads=2, features=4, hidden=6, dropout_rate=0.2)),
        models.SourceTarget(np.array([[4, 1, 0], [3, 2, 2]]), IDS),
        random=True,
        slow=True,
    ),
    of_ids(
        "seq2seq",
        models.seq2seq(models.Seq2SeqConfig(5, 5, cell="gru", attention="additive", embedding=3, hidden=4)),
        models.SourceTarget(np.array([[4, 1, 0], [3, 2, 2]]), IDS),
        slow=True,
    ),
    of_pairs(
        "clip", clip(image_size=(8, 4), patch_size=4, dropout_rate=0.2), normal(2, 8, 4, 3), random=True, slow=True
    ),
    of_pairs(
        "clip-stem",
        clip(image_size=(8, 8), patch_size=2, stem=(3,), end_of_text=2),
        normal(2, 8, 8, 3),
        np.array([[0, 2, 4], [3, 2, 2]]),
        bf16_tolerance=0.1,
        slow=True,
    ),
    network(
        "vit-no-dropout",
        models.vit(models.ViTConfig(8, 4, 3, layers=1, heads=2, features=4)),
        normal(2, 8, 8, 3),
        slow=True,
    ),
    network(
        "vit",
        models.vit(models.ViTConfig(8, 4, 3, layers=2, heads=2, features=4, dropout_rate=0.2)),
        normal(2, 8, 8, 3),
        random=True,
        slow=True,
    ),
    network(
        "whitened-cnn",
        models.whitened_cnn(models.WhitenedCNNConfig(3, widths=(4, 4, 4))),
        small_image(17),
        bf16_tolerance=0.1,
        needs_examples=True,
        slow=True,
    ),
    network("nlinear", models.nlinear(models.NLinearConfig(6, 3)), normal(3, 6, 2)),
    network("dlinear", models.dlinear(models.DLinearConfig(6, 3, window=3)), normal(3, 6, 2)),
    network(
        "patch-tst",
        models.patch_tst(models.PatchTSTConfig(12, 3, 4, 2, layers=2, heads=2, features=4, hidden=5, dropout_rate=0.2)),
        normal(3, 12, 2),
        random=True,
        needs_examples=True,
        slow=True,
    ),
    network(
        "lstm-forecaster",
        models.lstm_forecaster(models.LSTMForecasterConfig(2, 3, hidden=4, layers=2)),
        normal(3, 6, 2),
        slow=True,
    ),
    network("autoencoder", models.autoencoder(models.AutoencoderConfig((5, 4, 2))), normal(3, 5)),
    network("vae", models.vae(models.VAEConfig((5, 4, 2))), normal(3, 5), random=True),
    network("iwae", models.iwae(models.IWAEConfig((5, 4, 2), samples=3)), normal(3, 5), random=True, slow=True),
    network(
        "dcgan-generator",
        models.dcgan_generator(models.DCGANGeneratorConfig(28, 1, noise=3, width=2)),
        normal(4, 3),
        needs_examples=True,
        slow=True,
    ),
    *(
        network(
            f"dcgan-discriminator-{norm}",
            models.dcgan_discriminator(models.DCGANDiscriminatorConfig(28, 1, width=2, norm=norm)),
            normal(2, 28, 28, 1),
            slow=True,
            **settings,
        )
        for norm, settings in (
            ("none", {}),
            ("batch", {"needs_examples": True}),
            ("spectral", {"state_of_parameters": True, "differentiable": False}),
        )
    ),
    network(
        "diffusion-unet",
        models.diffusion_unet(
            models.DiffusionUNetConfig(
                4, 1, classes=2, features=4, multipliers=(1, 1), blocks=1, attention=(2,), groups=2, dropout_rate=0.2
            )
        ),
        models.DiffusionInputs(normal(2, 4, 4, 1), np.array([3, 900]), np.array([2, 1])),
        random=True,
        slow=True,
    ),
    network("mlp", models.mlp(models.MLPConfig((3, 5, 5, 2), norm=True)), normal(6, 3), needs_examples=True),
    network(
        "mlp-residual",
        models.mlp(models.MLPConfig((3, 5, 5, 2), dropout_rate=0.3, residual=True, activation="tanh")),
        normal(6, 3),
        random=True,
        slow=True,
    ),
]
