Shader "Hidden/Ani3D/Splat"
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
            #pragma vertex SplatVert
            #pragma fragment SplatFrag
            #include "UnityCG.cginc"

            // Drawn in projects of gamma colour space only, where the target holds the splats' own colours.
            #define VIEW_TO_CLIP(position) mul(UNITY_MATRIX_P, position)
            #define IS_HIDDEN(vertex) false
            #define TO_TARGET_COLOR(color) (color)
            #include "Ani3DCamera.hlsl"
            #include "Ani3DSplat.hlsl"
            ENDHLSL
        }
    }
}
