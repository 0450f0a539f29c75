Shader "Hidden/Ani3D/Compose"
{
    SubShader
    {
        // No LightMode: drawn by the built-in pipeline, and by URP and HDRP as an unlit transparent.
        Tags { "RenderType" = "Transparent" "Queue" = "Transparent" "IgnoreProjector" = "True" }
        Pass
        {
            ZWrite Off
            ZTest LEqual
            Cull Off
            Blend One OneMinusSrcAlpha

            HLSLPROGRAM
            #pragma target 4.5
            #pragma vertex ComposeVert
            #pragma fragment ComposeFrag
            #include "UnityCG.cginc"

            #define VIEW_TO_CLIP(position) mul(UNITY_MATRIX_P, position)
            #ifdef SHADER_API_GLCORE
            #define DEVICE_DEPTH(clip) (0.5 * (clip).z / (clip).w + 0.5)
            #else
            #define DEVICE_DEPTH(clip) ((clip).z / (clip).w)
            #endif
            #include "Ani3DCompose.hlsl"
            ENDHLSL
        }
    }
}
