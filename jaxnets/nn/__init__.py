"""Layers: each a spec of its arrays and a pure function of them, one family a file."""

from jaxnets.nn import initializers as initializers
from jaxnets.nn.activations import (
    celu as celu,
    elu as elu,
    gelu as gelu,
    hard_shrink as hard_shrink,
    hard_sigmoid as hard_sigmoid,
    hard_swish as hard_swish,
    hard_tanh as hard_tanh,
    heaviside as heaviside,
    identity as identity,
    leaky_relu as leaky_relu,
    log_sigmoid as log_sigmoid,
    log_softmax as log_softmax,
    maxout as maxout,
    maxout_spec as maxout_spec,
    mish as mish,
    piecewise_linear as piecewise_linear,
    prelu as prelu,
    prelu_spec as prelu_spec,
    quick_gelu as quick_gelu,
    relu as relu,
    relu6 as relu6,
    rrelu as rrelu,
    selu as selu,
    sigmoid as sigmoid,
    sign as sign,
    silu as silu,
    soft_shrink as soft_shrink,
    soft_sign as soft_sign,
    softmax as softmax,
    softplus as softplus,
    swish as swish,
    tanh as tanh,
    tanh_shrink as tanh_shrink,
)
from jaxnets.nn.alignment import (
    additive_attention as additive_attention,
    additive_attention_spec as additive_attention_spec,
    multiplicative_attention as multiplicative_attention,
    multiplicative_attention_spec as multiplicative_attention_spec,
)
from jaxnets.nn.attention import (
    attention as attention,
    attention_memory as attention_memory,
    attention_spec as attention_spec,
)
from jaxnets.nn.attention_cache import (
    attention_cache_spec as attention_cache_spec,
    cached_attention as cached_attention,
)
from jaxnets.nn.attention_mask import (
    causal_mask as causal_mask,
    padding_mask as padding_mask,
    sequence_mask as sequence_mask,
)
from jaxnets.nn.batch_norm import batch_norm as batch_norm, batch_norm_spec as batch_norm_spec
from jaxnets.nn.conditioned_block import (
    conditioned_block as conditioned_block,
    conditioned_block_spec as conditioned_block_spec,
)
from jaxnets.nn.conv_norm import conv_norm as conv_norm, conv_norm_spec as conv_norm_spec
from jaxnets.nn.convolution import (
    conv as conv,
    conv_spec as conv_spec,
    depthwise_conv as depthwise_conv,
    depthwise_conv_spec as depthwise_conv_spec,
    grouped_conv as grouped_conv,
    grouped_conv_spec as grouped_conv_spec,
)
from jaxnets.nn.dot_product_attention import dot_product_attention as dot_product_attention
from jaxnets.nn.dropout import (
    classic_dropout as classic_dropout,
    drop_path as drop_path,
    dropout as dropout,
    spatial_dropout as spatial_dropout,
)
from jaxnets.nn.embedding import embedding as embedding, embedding_spec as embedding_spec, tied_logits as tied_logits
from jaxnets.nn.film import film as film, film_spec as film_spec
from jaxnets.nn.gru import gru as gru, gru_carry as gru_carry, gru_cell as gru_cell, gru_spec as gru_spec
from jaxnets.nn.image_attention import (
    image_attention as image_attention,
    image_attention_spec as image_attention_spec,
)
from jaxnets.nn.linear import linear as linear, linear_spec as linear_spec
from jaxnets.nn.lstm import (
    LSTMCarry as LSTMCarry,
    lstm as lstm,
    lstm_carry as lstm_carry,
    lstm_cell as lstm_cell,
    lstm_spec as lstm_spec,
)
from jaxnets.nn.normalization import (
    group_norm as group_norm,
    group_norm_spec as group_norm_spec,
    instance_norm as instance_norm,
    instance_norm_spec as instance_norm_spec,
    layer_norm as layer_norm,
    layer_norm_spec as layer_norm_spec,
    local_response_norm as local_response_norm,
    rms_norm as rms_norm,
    rms_norm_spec as rms_norm_spec,
)
from jaxnets.nn.pooling import (
    adaptive_avg_pool as adaptive_avg_pool,
    adaptive_max_pool as adaptive_max_pool,
    avg_pool as avg_pool,
    global_avg_pool as global_avg_pool,
    global_max_pool as global_max_pool,
    max_pool as max_pool,
)
from jaxnets.nn.recurrent import recurrent as recurrent
from jaxnets.nn.recurrent_stack import (
    bidirectional as bidirectional,
    bidirectional_spec as bidirectional_spec,
    stacked as stacked,
    stacked_spec as stacked_spec,
)
from jaxnets.nn.residual import (
    BOTTLENECK_EXPANSION as BOTTLENECK_EXPANSION,
    basic_block as basic_block,
    basic_block_spec as basic_block_spec,
    bottleneck_block as bottleneck_block,
    bottleneck_block_spec as bottleneck_block_spec,
    residual_stage as residual_stage,
    residual_stage_spec as residual_stage_spec,
)
from jaxnets.nn.resize import (
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
    resize as resize,
    upsample as upsample,
)
from jaxnets.nn.reversible_norm import (
    SeriesStatistics as SeriesStatistics,
    reversible_norm as reversible_norm,
    reversible_norm_inverse as reversible_norm_inverse,
    reversible_norm_spec as reversible_norm_spec,
)
from jaxnets.nn.rotary import llama3_frequencies as llama3_frequencies, rotary as rotary
from jaxnets.nn.simple_rnn import (
    simple_rnn as simple_rnn,
    simple_rnn_carry as simple_rnn_carry,
    simple_rnn_cell as simple_rnn_cell,
    simple_rnn_spec as simple_rnn_spec,
)
from jaxnets.nn.squeeze_excitation import (
    squeeze_excitation as squeeze_excitation,
    squeeze_excitation_spec as squeeze_excitation_spec,
)
from jaxnets.nn.time_embedding import time_embedding as time_embedding
from jaxnets.nn.transformer_block import (
    cached_transformer_block as cached_transformer_block,
    transformer_block as transformer_block,
    transformer_block_spec as transformer_block_spec,
)
from jaxnets.nn.transformer_decoder_block import (
    cached_transformer_decoder_block as cached_transformer_decoder_block,
    transformer_decoder_block as transformer_decoder_block,
    transformer_decoder_block_spec as transformer_decoder_block_spec,
)
from jaxnets.nn.transposed_convolution import (
    conv_transpose as conv_transpose,
    conv_transpose_spec as conv_transpose_spec,
    grouped_conv_transpose as grouped_conv_transpose,
    grouped_conv_transpose_spec as grouped_conv_transpose_spec,
)
from jaxnets.nn.weight_norm import (
    spectral_norm as spectral_norm,
    spectral_norm_spec as spectral_norm_spec,
    weight_norm as weight_norm,
    weight_norm_spec as weight_norm_spec,
)
